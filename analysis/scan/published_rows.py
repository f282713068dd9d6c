"""Rows as a paper prints them: a value for a chain of steps, and nothing about counts, times or versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rayci.kinds import Direction, Kind, Recompress, Status
from rayci.table import Row, StepCell


@dataclass(frozen=True)
class Paper:
    """What all rows of one published table share."""

    name: str
    """The table's name here."""
    recompress: Recompress
    month: datetime
    """That of the preprint's number; papers do not date their measurements."""

    def row(
        self,
        place: str,
        model: str,
        asked: Sequence[StepCell],
        chain: Sequence[StepCell],
        criterion: str,
        direction: Direction,
        value: float | None,
        reason: str,
    ) -> Row:
        """The value after a chain, of which `asked` is what the paper names; `reason` counts where there is none."""
        applied = " > ".join(map(text, chain))
        return Row(
            sweep=f"published:{self.name}",
            sweep_fingerprint=_mark(f"published:{self.name}"),
            trial_id=place,
            model=model,
            model_fingerprint="",
            composition=" > ".join(map(text, asked)),
            chain=applied,
            final=True,
            recompress=self.recompress,
            steps=tuple(chain),
            stage=len(chain),
            stage_fingerprint=_mark(f"{self.name}: {model}: {applied}"),
            replicate=None,
            seed=None,
            criterion=criterion,
            criterion_fingerprint="",
            direction=direction,
            value=value,
            stderr=None,
            n=None,
            status=Status.SKIPPED if value is None else Status.OK,
            reason=reason if value is None else None,
            apply_seconds=None,
            measure_seconds=None,
            peak_memory_bytes=None,
            device="",
            dtype="",
            versions="{}",
            recorded_at=self.month,
        )


def step(
    kind: Kind,
    method: str,
    strength_name: str | None = None,
    strength: float | None = None,
    settings: Mapping[str, Any] | None = None,
    recompression: str | None = None,
) -> StepCell:
    """A step as the paper describes it; `settings` beside γ are those that tell its rows apart."""
    given = dict(settings or {}) | ({strength_name: strength} if strength_name else {})
    effective = json.dumps(given, sort_keys=True)
    return StepCell(
        kind=kind,
        method=method,
        strength_name=strength_name,
        strength=strength,
        settings=effective,
        recompression=recompression,
        fingerprint=_mark(f"{method} {effective} {recompression}"),
    )


def text(cell: StepCell) -> str:
    """`wanda@0.25`, `sure@95{method=npo_gdr}`, `refit(wanda@0.25)`."""
    beside = {key: value for key, value in json.loads(cell.settings).items() if key != cell.strength_name}
    said = cell.method if cell.strength is None else f"{cell.method}@{cell.strength:g}"
    if beside:
        words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in beside.items()}
        said += "{" + ",".join(f"{key}={word}" for key, word in words.items()) + "}"
    return f"{cell.recompression}({said})" if cell.recompression else said


def _mark(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
