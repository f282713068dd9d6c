"""From readings of a stage to rows of the table."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from rayci.criterion import Criterion
from rayci.data.data_presets import Pair
from rayci.fingerprint import canonical_json
from rayci.item_values import ItemRow, Items
from rayci.kinds import Status
from rayci.running.asked_readings import asked
from rayci.running.timesheet import Timesheet, Visit
from rayci.table import Part, Row, StepCell

if TYPE_CHECKING:
    from rayci.planning.chain import Link
    from rayci.planning.plan import Stage, Trial
    from rayci.planning.sweep import Sweep
    from rayci.storage.parts import Parts
    from rayci.storage.stages import Outcome


@dataclass(frozen=True)
class Measured:
    """One reading of a stage, or the reason why there is none. `replicate` as in the table."""

    criterion: Criterion
    replicate: int | None
    status: Status
    value: float | None = None
    stderr: float | None = None
    n: int | None = None
    reason: str | None = None
    seconds: float | None = None
    """What measuring took; 0 where the reading came out of the store, None where nothing was measured."""
    operations: float | None = None
    """What the criterion says that it was; None where it says nothing."""
    device: str | None = None
    """Where it was measured; None where nothing was."""
    peak_memory_bytes: int | None = None
    """The most accelerator memory held while it was measured."""
    items: Items | None = None

    def __post_init__(self) -> None:
        """ValueError for what can be no row."""
        if (self.value is None) == (self.status is Status.OK) or (self.value is not None and math.isnan(self.value)):
            raise ValueError(f"{self.criterion.name}: {self.value} with status {self.status}")


def without_value(sweep: Sweep, stage: Stage, status: Status, reason: str) -> list[Measured]:
    """Every reading that a stage should have had, with the same status and reason."""
    return [Measured(criterion, replicate, status, reason=reason) for criterion, replicate, _ in asked(sweep, stage)]


def blocked_by(stage: Stage, failure: str) -> str:
    """Why there are no stages after one that failed."""
    return f"{stage.chain or 'the untouched model'} failed: {failure}"


NOBODY = Visit()
"""Of rows that no worker wrote."""


def rows(
    sweep: Sweep,
    trial: Trial,
    stage: Stage,
    owner: str,
    measured: list[Measured],
    outcome: Outcome | None,
    visit: Visit = NOBODY,
) -> Iterator[Row]:
    """One row for each reading of the stage; `owner` is the id of the trial that measures it."""
    steps, recorded_at = tuple(_cells(sweep, trial, stage)), datetime.now(UTC)
    for reading in measured:
        yield Row(
            sweep=sweep.spec.name,
            sweep_fingerprint=sweep.fingerprint,
            trial_id=owner,
            model=sweep.spec.model,
            model_fingerprint=sweep.model(),
            composition=stage.composition,
            chain=stage.chain,
            final=stage.final,
            recompress=sweep.spec.recompress,
            steps=steps,
            stage=stage.depth,
            stage_fingerprint=stage.fingerprint,
            replicate=reading.replicate,
            seed=stage.seed,
            criterion=reading.criterion.name,
            criterion_fingerprint=_fingerprint(sweep, stage, reading),
            direction=reading.criterion.scale.direction,
            value=reading.value,
            stderr=reading.stderr,
            n=reading.n,
            status=reading.status,
            reason=reading.reason,
            **asdict(visit),
            measure_seconds=reading.seconds,
            measure_operations=reading.operations,
            peak_memory_bytes=_most(outcome.peak_memory_bytes if outcome else None, reading.peak_memory_bytes),
            device=reading.device or "none",
            dtype=sweep.spec.dtype,
            versions=versions(sweep.fetched, sweep.overlaps_allowed),
            recorded_at=recorded_at,
        )


def item_rows(sweep: Sweep, stage: Stage, measured: list[Measured]) -> Iterator[ItemRow]:
    """The per-item values of the stage's readings that have any."""
    for reading in measured:
        if reading.items is not None:
            yield ItemRow(
                stage_fingerprint=stage.fingerprint,
                criterion=reading.criterion.name,
                criterion_fingerprint=_fingerprint(sweep, stage, reading),
                replicate=reading.replicate,
                seed=stage.seed,
                item=reading.criterion.item or "item",
                items=reading.items,
            )


def fault(sweep: Sweep, stage: Stage, part: Part) -> str | None:
    """Why a part does not hold rows of this stage; None where it does."""
    name = stage.chain or "the untouched model"
    facts = {"sweep_fingerprint": sweep.fingerprint, "stage_fingerprint": stage.fingerprint, "final": stage.final}
    for column, value in facts.items():
        if part.rows.column(column).unique().to_pylist() != [value]:
            return f"its {column.replace('_', ' ')} is not that of {name}"
    if any(part.scales.get(name, scale) != scale for name, scale in sweep.scales.items()):
        return "its scales are not those of the criteria"
    return None


def items_fault(sweep: Sweep, stage: Stage, part: Part, items: pa.Table) -> str | None:
    """Why the items of a stage are not those of this part's readings; None where they are."""
    own = set(items.column("stage_fingerprint").to_pylist())
    ok = part.rows.filter(pc.equal(part.rows.column("status"), Status.OK.value))
    measured, held = (_readings(rows) for rows in (ok, items))
    due = {
        (criterion.name, digest, replicate) for criterion, replicate, digest in asked(sweep, stage) if criterion.item
    }
    if not (own <= {stage.fingerprint} and due & measured <= held):
        return f"its items are not those of the rows of {stage.chain or 'the untouched model'}"
    return None


def _readings(rows: pa.Table) -> set[tuple[str, str, int | None]]:
    """Criterion, its fingerprint and the replicate of each row."""
    columns = (rows.column(name).to_pylist() for name in ("criterion", "criterion_fingerprint", "replicate"))
    return set(zip(*columns, strict=True))


def publish(
    sweep: Sweep,
    parts: Parts,
    trial: Trial,
    stage: Stage,
    owner: str,
    measured: list[Measured],
    outcome: Outcome | None,
    sheet: Timesheet | None = None,
) -> None:
    """Write the rows of a stage's readings, and what their items counted; those that have rows keep them.

    `sheet`: that of the worker that came to the stage.
    """
    held = parts.held(stage.fingerprint)
    new = [reading for reading in measured if (_fingerprint(sweep, stage, reading), reading.replicate) not in held]
    if new:
        visit = NOBODY if sheet is None else sheet.visit(sum(reading.seconds or 0.0 for reading in new))
        own = list(rows(sweep, trial, stage, owner, new, outcome, visit))
        parts.write(stage.fingerprint, own, sweep.scales, list(item_rows(sweep, stage, new)), beside=bool(held))


def _fingerprint(sweep: Sweep, stage: Stage, reading: Measured) -> str:
    return sweep.criterion_fingerprint(reading.criterion, reading.replicate, stage.seed)


def _most(*peaks: int | None) -> int | None:
    """The largest of those that are known."""
    return max((peak for peak in peaks if peak is not None), default=None)


def _cells(sweep: Sweep, trial: Trial, stage: Stage) -> Iterator[StepCell]:
    for link in sweep.planner.chain(trial.composition)[: stage.depth]:
        yield _cell(sweep, link, stage.replicate)


def _cell(sweep: Sweep, link: Link, replicate: int | None) -> StepCell:
    intervention = link.intervention
    return StepCell(
        kind=intervention.kind,
        method=intervention.name,
        strength_name=intervention.strength.name if intervention.strength else None,
        strength=intervention.gamma,
        settings=canonical_json(intervention.effective()),
        recompression=link.recompression,
        fingerprint=sweep.planner.step_fingerprint(link, replicate),
    )


@cache
def versions(fetched: tuple[str, ...] = (), overlaps: tuple[Pair, ...] = ()) -> str:
    """Versions of what computes a row, as canonical JSON, and of its data what a reader must know.

    `fetched`: commits of what came from the hub; `overlaps`: pairs of parts whose texts were allowed to overlap.
    """
    packages: dict[str, Any] = {name: version(name) for name in ("rayci", "torch", "transformers")}
    of_data = {"data": fetched} if fetched else {}
    allowed = {"allow_overlap": overlaps} if overlaps else {}
    return canonical_json({**packages, "python": platform.python_version(), **of_data, **allowed})
