"""Published result tables that ship with the package, as ResultTables.

`llama3_8b`: tables 8–14 of arXiv 2407.06483 (Llama-3-8B, means over 10 batches of 50 zsRE
edits, printed to two decimals). A cell that is not legible in the source is a row with
status `skipped`; nothing is filled in. What the paper does not state (counts, standard
errors, times, versions) is null or empty.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.resources import files

from rayci.errors import RequestError, nearest
from rayci.kinds import UNIT_INTERVAL, Direction, Kind, Recompress, Scale, Status
from rayci.table import ResultTable, Row, StepCell, from_rows

ILLEGIBLE = "not legible in the source"
TABLES = ("llama3_8b",)

_METHODS = {
    "FT": (Kind.EDIT, None),
    "MEMIT": (Kind.EDIT, None),
    "LoRA": (Kind.EDIT, None),
    "SparseGPT": (Kind.COMPRESS, "sparsity"),
    "Wanda": (Kind.COMPRESS, "sparsity"),
    "GPTQ": (Kind.COMPRESS, "bits"),
    "AWQ": (Kind.COMPRESS, "bits"),
    "GA": (Kind.UNLEARN, None),
    "GD": (Kind.UNLEARN, None),
    "RMU": (Kind.UNLEARN, None),
}
_REFITTED = frozenset({"sparsegpt", "wanda", "gptq"})
"""Compressors that the paper's code ran again after a later edit or unlearning; AWQ it did not."""
_SCALES = {
    "edit_success": UNIT_INTERVAL,
    "edit_generalization": UNIT_INTERVAL,
    "edit_locality": UNIT_INTERVAL,
    "avg_bits": Scale(Direction.NONE, 0.0, None, None, "bits per weight"),
    "wmdp": Scale(Direction.LOWER, 0.0, 1.0, 0.25, "share"),
    "mmlu": Scale(Direction.HIGHER, 0.0, 1.0, 0.25, "share"),
    "wikitext_ppl": Scale(Direction.LOWER, 1.0, None, logarithmic=True),
}
_PAPER = datetime(2024, 7, 1, tzinfo=UTC)
"""Month of the preprint's number; the paper does not date its measurements."""


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
    records = csv.DictReader(published_text(name).splitlines())
    return from_rows([row for record in records for row in _rows(name, record)], _SCALES)


def _rows(name: str, record: Mapping[str, str]) -> Iterator[Row]:
    asked = [_step(record["first"], record["first_gamma"]), _step(record["second"], record["second_gamma"])]
    steps = [step for step in asked if step]
    chain = [*steps, *_refits(steps)]
    texts = [_text(step) for step in chain]
    for criterion, scale in _SCALES.items():
        cell = record[criterion].strip()
        yield Row(
            sweep=f"published:{name}",
            sweep_fingerprint=_mark(f"published:{name}"),
            trial_id=f"table {record['table']}",
            model="Llama-3-8B",
            model_fingerprint="",
            composition=" > ".join(map(_text, steps)),
            chain=" > ".join(texts),
            final=True,
            recompress=Recompress.PUBLISHED,
            steps=tuple(chain),
            stage=len(chain),
            stage_fingerprint=_mark(f"{name}: {' > '.join(texts)}"),
            replicate=None,
            seed=None,
            criterion=criterion,
            criterion_fingerprint="",
            direction=scale.direction,
            value=float(cell) if cell else None,
            stderr=None,
            n=None,
            status=Status.OK if cell else Status.SKIPPED,
            reason=None if cell else ILLEGIBLE,
            apply_seconds=None,
            measure_seconds=None,
            peak_memory_bytes=None,
            device="",
            dtype="",
            versions="{}",
            recorded_at=_PAPER,
        )


def _step(method: str, gamma: str) -> StepCell | None:
    if not method:
        return None
    kind, strength_name = _METHODS[method]
    strength = float(gamma) if gamma else None
    return _cell(kind, method.lower(), strength_name, strength, None)


def _refits(steps: list[StepCell]) -> list[StepCell]:
    """The re-compression that the paper's code ran, unseen, after compressor → editor or unlearner."""
    if len(steps) < 2 or steps[0].method not in _REFITTED:
        return []
    return [_cell(steps[0].kind, steps[0].method, steps[0].strength_name, steps[0].strength, "refit")]


def _cell(
    kind: Kind, method: str, strength_name: str | None, strength: float | None, recompression: str | None
) -> StepCell:
    settings = json.dumps({strength_name: strength} if strength_name else {})
    mark = _mark(f"{method} {settings} {recompression}")
    return StepCell(
        kind=kind,
        method=method,
        strength_name=strength_name,
        strength=strength,
        settings=settings,
        recompression=recompression,
        fingerprint=mark,
    )


def _text(step: StepCell) -> str:
    text = step.method if step.strength is None else f"{step.method}@{step.strength:g}"
    return f"{step.recompression}({text})" if step.recompression else text


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
