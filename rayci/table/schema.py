"""Columns of the result table: names, order and types are the file format; a change raises `SCHEMA_VERSION`.

**Times.** A worker writes the rows of a stage at once, with one `recorded_at`: its visit to the stage. Every second of
a worker, from its start to its last rows, counts once in one visit:

    load_seconds      on the way to the stage before: the model loaded, steps checked, a stored stage restored,
                      earlier steps applied again, attempts that ran out of memory
    apply_seconds     the stage's last step; 0 where the stage came out of the store
    measure_seconds   this reading; 0 where it came out of the store
    store_seconds     weights, outcomes and readings written, and the rows of the visit before
    idle_seconds      the rest: waiting for work, looking up what there is

All but `measure_seconds` are the visit's, and stand in each of its rows. Null: no worker came (a paper's table, a row
that the driver wrote from the store), or nothing was measured. Work of a worker that was killed is in no row.

**Operations.** `apply_operations` and `measure_operations` are what the method and the criterion say that those seconds
were spent on (`rayci.workload`); null where it says nothing. `device_rate`: operations a second of what the worker had,
a matrix product's in the model's dtype as the preflight measured it, times the trial's GPUs, or its threads; null
without a preflight. FLOP utilisation is operations / seconds / rate.

Version 2 added the last three and the times of loading, storing and idling. Version 1 still reads: they are null.
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 2

VERSIONS = (1, SCHEMA_VERSION)
"""Versions whose rows can be read."""

ADDED = ("load_seconds", "store_seconds", "idle_seconds", "apply_operations", "measure_operations", "device_rate")
"""Columns that version 2 added; null in rows of version 1."""

RUN_FILE = "run.json"
"""In a run folder, beside `table/`: the entry that says which sweep it is."""

KEY = ("sweep_fingerprint", "stage_fingerprint", "replicate", "criterion")
"""What tells the rows of a table apart."""

ORDER = ("stage", "chain", "stage_fingerprint", "replicate", "seed", "criterion")
"""What the rows of a table are sorted by."""

VOLATILE = (*ADDED, "apply_seconds", "measure_seconds", "peak_memory_bytes", "recorded_at")
"""Columns that differ between two runs of the same sweep: times, what was done in them, and what hosts report."""

STEP = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("strength_name", pa.string()),
        pa.field("strength", pa.float64()),
        pa.field("settings", pa.string(), nullable=False),
        pa.field("recompression", pa.string()),
        pa.field("fingerprint", pa.string(), nullable=False),
    ]
)

SCHEMA = pa.schema(
    [
        pa.field("schema_version", pa.int32(), nullable=False),
        pa.field("sweep", pa.string(), nullable=False),
        pa.field("sweep_fingerprint", pa.string(), nullable=False),
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("model_fingerprint", pa.string(), nullable=False),
        pa.field("composition", pa.string(), nullable=False),
        pa.field("chain", pa.string(), nullable=False),
        pa.field("final", pa.bool_(), nullable=False),
        pa.field("recompress", pa.string(), nullable=False),
        pa.field("steps", pa.list_(STEP), nullable=False),
        pa.field("stage", pa.int32(), nullable=False),
        pa.field("stage_fingerprint", pa.string(), nullable=False),
        pa.field("replicate", pa.int32()),
        pa.field("seed", pa.int32()),
        pa.field("criterion", pa.string(), nullable=False),
        pa.field("criterion_fingerprint", pa.string(), nullable=False),
        pa.field("direction", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("stderr", pa.float64()),
        pa.field("n", pa.int64()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("load_seconds", pa.float64()),
        pa.field("apply_seconds", pa.float64()),
        pa.field("measure_seconds", pa.float64()),
        pa.field("store_seconds", pa.float64()),
        pa.field("idle_seconds", pa.float64()),
        pa.field("apply_operations", pa.float64()),
        pa.field("measure_operations", pa.float64()),
        pa.field("device_rate", pa.float64()),
        pa.field("peak_memory_bytes", pa.int64()),
        pa.field("device", pa.string(), nullable=False),
        pa.field("dtype", pa.string(), nullable=False),
        pa.field("versions", pa.string(), nullable=False),
        pa.field("recorded_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)

SCHEMA_1 = pa.schema([field for field in SCHEMA if field.name not in ADDED])
"""Columns of version 1."""


def as_version_2(rows: pa.Table) -> pa.Table:
    """The rows with the columns that version 2 added, null where they are missing; all others as they are."""
    for place, field in enumerate(SCHEMA):
        if field.name in ADDED and field.name not in rows.schema.names:
            rows = rows.add_column(place, field, pa.nulls(rows.num_rows, field.type))
    return rows
