"""Result tables of any number of rows, made by arrays: pairs in both orders, six γ, ten criteria, many edit batches."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rayci.kinds import UNIT_INTERVAL, Direction, Kind, Recompress, Scale, Status
from rayci.table import SCHEMA, STEP, ResultTable
from rayci.table.foreign import attributes
from rayci.table.schema import ADDED

GAMMAS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
SCALES = {
    **{f"edit_{number}": UNIT_INTERVAL for number in range(6)},
    "mmlu": Scale(Direction.HIGHER, 0.0, 1.0, 0.25, "share"),
    "wmdp": Scale(Direction.LOWER, 0.0, 1.0, 0.25, "share"),
    "perplexity": Scale(Direction.LOWER, 1.0, None, logarithmic=True),
    "wikitext_ppl": Scale(Direction.LOWER, 1.0, None, logarithmic=True),
}
WIDE = (20, 42)
"""Editors and pruners, 840 pairs: an edit batch has 100 810 rows, ten of them a million, a hundred ten million."""
_AT_ONCE = 1_000_000
_CONSTANT: dict[str, Any] = {
    "schema_version": 2, "sweep": "wide", "sweep_fingerprint": "wide", "trial_id": "t", "model": "tiny",
    "model_fingerprint": "m", "final": True, "recompress": str(Recompress.NEVER), "stderr": None, "n": 50, "seed": None,
    "apply_seconds": 1.0, "measure_seconds": 1.0, "peak_memory_bytes": None, "device": "cpu", "dtype": "float32",
    **dict.fromkeys(ADDED), "versions": "{}", "recorded_at": datetime(2026, 1, 1, tzinfo=UTC),
}  # fmt: skip
Chain = list[dict[str, Any]]


def wide_table(batches: int, methods: tuple[int, int] = WIDE) -> ResultTable:
    """All rows in memory."""
    return ResultTable(pa.concat_tables(_chunks(batches, methods)), SCALES)


def write_wide_table(path: Path, batches: int, methods: tuple[int, int] = WIDE) -> None:
    """The same rows as one Parquet file, as `frame.to_parquet()` would write it."""
    metadata = {"PANDAS_ATTRS": json.dumps(attributes(SCALES))}
    with pq.ParquetWriter(path, SCHEMA.with_metadata(metadata)) as writer:
        for chunk in _chunks(batches, methods):
            writer.write_table(chunk)


def _chunks(batches: int, methods: tuple[int, int]) -> Iterator[pa.Table]:
    """Rows of some compositions; one reading in 500 failed."""
    draw, chains = np.random.default_rng(0), list(_chains(*methods))
    size = max(1, _AT_ONCE // batches // len(SCALES))
    for start in range(0, len(chains), size):
        yield _rows(chains[start : start + size], batches, draw)


def _rows(chains: Sequence[Chain], batches: int, draw: np.random.Generator) -> pa.Table:
    shape = (len(chains), batches, len(SCALES))
    chain, batch, criterion = (axis.ravel() for axis in np.indices(shape, dtype=np.int32))
    values, failed = draw.random(shape), draw.random(shape).ravel() < 0.002
    values[..., -2:] = np.exp(3 * values[..., -2:])
    stages = [f"{draw.integers(2**62):064x}" for _ in range(len(chains) * batches)]
    texts, names = [" > ".join(map(_text, steps)) for steps in chains], list(SCALES)
    columns = {
        "composition": _named(texts, chain), "chain": _named(texts, chain),
        "steps": pa.array(chains, pa.list_(STEP)).take(pa.array(chain)),
        "stage": pa.array(np.array([len(steps) for steps in chains], dtype=np.int32)[chain]),
        "stage_fingerprint": _named(stages, chain * batches + batch), "replicate": pa.array(batch),
        "criterion": _named(names, criterion), "criterion_fingerprint": _named(names, criterion),
        "direction": _named([str(scale.direction) for scale in SCALES.values()], criterion),
        "value": pa.array(values.ravel(), mask=failed), "status": _named([*map(str, Status)], failed),
        "reason": _named([None, "out of memory"], failed),
    }  # fmt: skip
    for name, value in _CONSTANT.items():
        columns[name] = pa.repeat(pa.scalar(value, SCHEMA.field(name).type), len(chain))
    return pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)


def _named(names: Sequence[str | None], codes: np.ndarray) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(codes.astype(np.int32)))


def _chains(editors: int, pruners: int) -> Iterator[Chain]:
    """The untouched model, and every pair at every γ in either order."""
    yield []
    for editor, pruner, gamma in itertools.product(range(editors), range(pruners), GAMMAS):
        edit = _step(Kind.EDIT, f"editor{editor}", None, None)
        prune = _step(Kind.COMPRESS, f"pruner{pruner}", "sparsity", gamma)
        yield from ([edit, prune], [prune, edit])


def _step(kind: Kind, method: str, strength_name: str | None, strength: float | None) -> dict[str, Any]:
    settings = json.dumps({strength_name: strength} if strength_name else {"lr": 0.001})
    step = {"kind": str(kind), "method": method, "strength_name": strength_name, "strength": strength}
    return {**step, "settings": settings, "recompression": None, "fingerprint": f"{method}@{strength}"}


def _text(step: dict[str, Any]) -> str:
    return step["method"] if step["strength"] is None else f"{step['method']}@{step['strength']:g}"
