"""The result table: one row per (stage, criterion, replicate), stored as Parquet files.

Each part has one writer, appears under its final name only when it is complete, and carries a checksum over its
rows and its metadata (`rayci.storage.sealed`). What others need of the table stands at this door.
"""

from rayci.table.checks import check
from rayci.table.gathering import gather, merge
from rayci.table.part_file import Part, read_part, write_part
from rayci.table.places import Source, several
from rayci.table.reading import read, write_joined
from rayci.table.result_table import ResultTable, from_rows
from rayci.table.row import Row, StepCell
from rayci.table.schema import RUN_FILE, SCHEMA, SCHEMA_VERSION, STEP, VOLATILE
from rayci.table.worker_times import SECONDS, TIMES, known_sum, utilisation, visits

__all__ = [
    "RUN_FILE",
    "SCHEMA",
    "SCHEMA_VERSION",
    "SECONDS",
    "STEP",
    "TIMES",
    "VOLATILE",
    "Part",
    "ResultTable",
    "Row",
    "Source",
    "StepCell",
    "check",
    "from_rows",
    "gather",
    "known_sum",
    "merge",
    "read",
    "read_part",
    "several",
    "utilisation",
    "visits",
    "write_joined",
    "write_part",
]
