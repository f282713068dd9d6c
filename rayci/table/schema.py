"""Columns of the result table: names, order and types are the file format; a change raises `SCHEMA_VERSION`."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 1

RUN_FILE = "run.json"
"""In a run folder, beside `table/`: the entry that says which sweep it is."""

KEY = ("sweep_fingerprint", "stage_fingerprint", "replicate", "criterion")
"""What tells the rows of a table apart."""

ORDER = ("stage", "chain", "stage_fingerprint", "replicate", "seed", "criterion")
"""What the rows of a table are sorted by."""

VOLATILE = ("apply_seconds", "measure_seconds", "peak_memory_bytes", "recorded_at")
"""Columns that differ between two runs of the same sweep: times and what hosts report."""

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
        pa.field("apply_seconds", pa.float64()),
        pa.field("measure_seconds", pa.float64()),
        pa.field("peak_memory_bytes", pa.int64()),
        pa.field("device", pa.string(), nullable=False),
        pa.field("dtype", pa.string(), nullable=False),
        pa.field("versions", pa.string(), nullable=False),
        pa.field("recorded_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
