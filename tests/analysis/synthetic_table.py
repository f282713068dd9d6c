"""A small builder of result tables: compositions in text form, values as functions of γ."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rayci.kinds import UNIT_INTERVAL, Direction, Kind, Recompress, Scale, Status
from rayci.table import ResultTable, Row, StepCell, from_rows

KINDS = {
    "ft": Kind.EDIT, "memit": Kind.EDIT, "wanda": Kind.COMPRESS, "sparsegpt": Kind.COMPRESS,
    "rtn": Kind.COMPRESS, "awq": Kind.COMPRESS, "gd": Kind.UNLEARN, "rmu": Kind.UNLEARN,
    "lora": Kind.EDIT, "gptq": Kind.COMPRESS, "ga": Kind.UNLEARN, "sure": Kind.UNLEARN,
    "retrain": Kind.UNLEARN, "finetune": Kind.TRAIN, "relearn": Kind.TRAIN, "delta": Kind.TRAIN,
}  # fmt: skip
STRENGTHS = {"wanda": "sparsity", "sparsegpt": "sparsity", "rtn": "bits", "awq": "bits", "gptq": "bits"}
STRENGTHS |= {"finetune": "epochs", "relearn": "epochs"}
SETTINGS: Mapping[str, Mapping[str, Any]] = {"relearn": {"on": "forget"}, "finetune": {"on": "finetune"}}
SCALES = {
    "edit_success": UNIT_INTERVAL,
    "edit_generalization": UNIT_INTERVAL,
    "edit_locality": UNIT_INTERVAL,
    "mmlu": Scale(Direction.HIGHER, 0.0, 1.0, 0.25, "share"),
    "wmdp": Scale(Direction.LOWER, 0.0, 1.0, 0.25, "share"),
    "utility": Scale(Direction.HIGHER, 0.0, 1.0, 0.25, "share"),
    "hazard": Scale(Direction.LOWER, 0.0, 1.0, 0.25, "share"),
    "perplexity": Scale(Direction.LOWER, 1.0, None, logarithmic=True),
    "wikitext_ppl": Scale(Direction.LOWER, 1.0, None, logarithmic=True),
    "privleak": Scale(Direction.ZERO, -100.0, 100.0, None, "%"),
    "fluency": Scale(Direction.HIGHER, 0.0, None, None, "nats"),
    "avg_bits": Scale(Direction.NONE, 0.0, None, None, "bits per weight"),
}

Value = float | str
"""A number, or the reason of a failure."""


def step(text: str, settings: Mapping[str, Any] | None = None, strength_name: str | None = None) -> StepCell:
    """`wanda@0.5` or `refit(wanda@0.5)` as a step of a row."""
    again, _, inner = text.rpartition("(")
    method, _, gamma = inner.rstrip(")").partition("@")
    name = strength_name or STRENGTHS.get(method)
    strength = float(gamma) if gamma else None
    effective = {
        **SETTINGS.get(method, {}),
        **(settings or {}),
        **({name: strength} if name and strength is not None else {}),
    }
    return StepCell(
        kind=KINDS[method],
        method=method,
        strength_name=name,
        strength=strength,
        settings=json.dumps(effective, sort_keys=True),
        recompression=again or None,
        fingerprint=_mark(text),
    )


def row(
    chain: str | Iterable[StepCell],
    criterion: str,
    value: Value,
    replicate: int | None = None,
    seed: int | None = None,
    final: bool = True,
    **fields: Any,
) -> Row:
    """One row; `chain` like `wanda@0.5 > ft > refit(wanda@0.5)`, or its steps."""
    steps = tuple(step(part) for part in chain.split(" > ") if part) if isinstance(chain, str) else tuple(chain)
    asked = " > ".join(_text(s) for s in steps if s.recompression is None)
    whole = " > ".join(_text(s) for s in steps)
    number = value if isinstance(value, int | float) else None
    given: dict[str, Any] = {
        "sweep": "synthetic",
        "sweep_fingerprint": "sweep",
        "trial_id": "t",
        "model": "tiny",
        "model_fingerprint": "m",
        "composition": asked,
        "chain": whole,
        "final": final,
        "recompress": Recompress.REFIT,
        "steps": steps,
        "stage": len(steps),
        "stage_fingerprint": _mark(f"{[(s.method, s.settings, s.recompression) for s in steps]} {replicate} {seed}"),
        "replicate": replicate,
        "seed": seed,
        "criterion": criterion,
        "criterion_fingerprint": criterion,
        "direction": SCALES[criterion].direction,
        "value": None if number is None else float(number),
        "stderr": None,
        "n": 50,
        "status": Status.FAILED if number is None else Status.OK,
        "reason": value if isinstance(value, str) else None,
        "apply_seconds": 1.0,
        "measure_seconds": 1.0,
        "peak_memory_bytes": None,
        "device": "cpu",
        "dtype": "float32",
        "versions": '{"rayci":"0.1.0"}',
        "recorded_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Row(**{**given, **fields})


def table(rows: Iterable[Row]) -> ResultTable:
    """The rows as a table with the scales above."""
    return from_rows(rows, SCALES)


def both_orders(
    edit: str,
    compressor: str,
    criterion: str,
    first: Mapping[float, Value],
    second: Mapping[float, Value],
    **fields: Any,
) -> list[Row]:
    """Rows of edit → compressor (`first`, by γ) and compressor → edit (`second`)."""
    rows = [row(f"{edit} > {compressor}@{gamma:g}", criterion, value, **fields) for gamma, value in first.items()]
    return rows + [
        row(f"{compressor}@{gamma:g} > {edit}", criterion, value, **fields) for gamma, value in second.items()
    ]


def every_order(
    steps: Iterable[str], criterion: str, value: Callable[[tuple[str, ...]], Value], **fields: Any
) -> list[Row]:
    """Rows of every permutation of the steps and of every stage on the way, `value` a function of what was applied."""
    chains = itertools.permutations(steps)
    stages = dict.fromkeys(chain[:count] for chain in chains for count in range(len(chain) + 1))
    return [row(" > ".join(stage), criterion, value(stage), **(fields if stage else {})) for stage in stages]


def _text(cell: StepCell) -> str:
    text = cell.method if cell.strength is None else f"{cell.method}@{cell.strength:g}"
    return f"{cell.recompression}({text})" if cell.recompression else text


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
