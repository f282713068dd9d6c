"""Published result tables that ship with the package, as ResultTables.

`llama3_8b`: tables 8–14 of arXiv 2407.06483 (`published_composability`).
`unlearning_quantization`: tables 1–4 and 8–11 of arXiv 2410.16454 (`published_unlearning`).
"""

from __future__ import annotations

import csv
from importlib import import_module
from importlib.resources import files

from rayci.errors import RequestError, nearest
from rayci.table import ResultTable, from_rows

_READERS = {"llama3_8b": "published_composability", "unlearning_quantization": "published_unlearning"}
"""Name of a table -> the module with its `SCALES` and `rows(name, records)`."""
TABLES = tuple(_READERS)


def published_text(name: str) -> str:
    """A shipped CSV as it is, read as package data; RequestError names the tables there are."""
    resource = files("rayci.analysis.scan") / "published_tables" / f"{name}.csv"
    if name not in TABLES or not resource.is_file():
        near = nearest(name, TABLES)
        raise RequestError(
            f"no published table {name!r}", allowed=", ".join(TABLES), hint=f"published:{near or TABLES[0]}"
        )
    return resource.read_text(encoding="utf-8")


def published(name: str) -> ResultTable:
    """A published table; raises RequestError for an unknown name."""
    records = list(csv.DictReader(published_text(name).splitlines()))
    reader = import_module(f"rayci.analysis.scan.{_READERS[name]}")
    return from_rows(reader.rows(name, records), reader.SCALES)
