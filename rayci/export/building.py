"""Build a stage of a sweep outside of it: from stored stages where a run has them, else step by step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rayci.errors import InterventionError, RequestError
from rayci.export.origin import Origin, Value, base_name
from rayci.export.reproduction import reproduce
from rayci.export.wanted import Wanted
from rayci.intervention import Receipt
from rayci.kinds import Status
from rayci.planning.own_folders import in_chain
from rayci.planning.spec import Spec
from rayci.running.position import Position
from rayci.running.readings import Readings
from rayci.running.reasons import NO_MORE
from rayci.running.rows import Measured
from rayci.settings import batch_of, edit_batch_number
from rayci.storage.stages import Outcome, StageStore
from rayci.subject import Subject


class BorrowedStages(StageStore):
    """The stages of a run, to be read: nothing is added, which would count against the run's limit."""

    def put_weights(
        self,
        stage: str,
        changed: Mapping[str, Tensor],
        receipts: Sequence[Receipt],
        base: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Nothing."""

    def put_outcome(self, stage: str, outcome: Outcome) -> None:
        """Nothing."""

    def put_reading(self, stage: str, criterion: str, reading: Mapping[str, object]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Built:
    """A stage as a model in memory."""

    subject: Subject
    origin: Origin
    applied: int
    """Steps that were applied now; the others came with a stored stage."""
    notes: tuple[str, ...]


def build(
    wanted: Wanted,
    *,
    measure: bool = False,
    values: tuple[Value, ...] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> Built:
    """The stage with its origin; with `measure` the criteria of its spec are read, here and on the untouched model.

    `values` are what is known of it already; `tell` hears of every step before it is applied. Raises
    RequestError where a step does not fit, InterventionError where one fails.
    """
    sweep, stage = wanted.sweep, wanted.stage
    with position_of(wanted) as position:
        readings = Readings(sweep, position.subject, position.store)
        untouched = readings.measure(wanted.trial.stages[0]) if measure else []
        applied = _walk(position, wanted, tell)
        if measure:
            values = _values(readings.measure(stage), untouched)
        origin = Origin(
            base=base_name(sweep.spec.model),
            chain=in_chain(stage.chain, sweep.spec, lambda source, _: base_name(source)),
            steps=tuple(position.subject.applied),
            values=values,
            fingerprints={"model": sweep.model(), "stage": stage.fingerprint},
            draws=draws(wanted),
            reproduce=reproduce(wanted),
        )
        notes = (*position.take_notes(), *readings.take_notes(), *position.store.take_notes())
        return Built(position.subject, origin, applied, notes)


@contextmanager
def position_of(wanted: Wanted) -> Iterator[Position]:
    """The untouched model, and the ways from it; RequestError where a step of the trial does not fit."""
    sweep = wanted.sweep
    torch.set_num_threads(sweep.spec.resources.threads)
    with tempfile.TemporaryDirectory(prefix="rayci-") as folder:
        store = StageStore(Path(folder)) if wanted.store is None else BorrowedStages(wanted.store)
        position = Position(sweep, sweep.load(_device(sweep.spec)), store)
        for depth, reason in position.refusals(wanted.trial, 1).items():
            if depth <= wanted.depth:
                raise RequestError(f"{wanted.trial.stages[depth].chain} cannot be applied: {reason}")
        yield position


def go(position: Position, wanted: Wanted, depth: int) -> int:
    """Bring the subject to a stage of the trial; returns how many steps were applied.

    Raises InterventionError where one fails.
    """
    stages = wanted.trial.stages
    applied, outcome = position.reach(wanted.trial, depth, [False] * len(stages), no_more=NO_MORE)
    if outcome.failure is not None:
        raise InterventionError(f"{stages[depth].chain} failed: {outcome.failure}")
    return applied


def _walk(position: Position, wanted: Wanted, tell: Callable[[str], None]) -> int:
    """Go to the stage from the deepest one that is stored, step by step; returns how many steps were applied."""
    stages = wanted.trial.stages[: wanted.depth + 1]
    stored = [stage.depth for stage in stages if position.store.has_weights(stage.fingerprint)]
    applied = go(position, wanted, max(stored, default=0))
    for stage in stages[max(stored, default=0) + 1 :]:
        tell(f"step {stage.depth} of {wanted.depth}: {stage.chain}")
        applied += go(position, wanted, stage.depth)
    return applied


def draws(wanted: Wanted) -> str:
    """`edit batch 2 of 50 edits, seed 0`; `edit batches 2, 5, 8 of 50 edits, seed 0` of several."""
    spec, stage = wanted.sweep.spec, wanted.stage
    links = wanted.sweep.planner.chain(wanted.trial.composition)[: wanted.depth]
    replicate = stage.replicate or 0
    numbers = dict.fromkeys(
        edit_batch_number(replicate, batch_of(link.intervention), spec.replicates)
        for link in links
        if "edits" in link.intervention.needs
    )
    several = "es" * (len(numbers) > 1)
    batch = [f"edit batch{several} {', '.join(map(str, numbers))} of {spec.edit_batch} edits"] if numbers else []
    index = f", seed index {stage.seed}" if stage.seed else ""
    return ", ".join([*batch, f"seed {spec.seed}{index}"])


def _device(spec: Spec) -> str:
    """A GPU where the sweep is for GPUs and there is one here."""
    wants_gpu = bool(spec.resources.gpus) and spec.resources.device != "cpu"
    return "cuda" if wants_gpu and torch.cuda.is_available() else "cpu"


def _values(measured: Sequence[Measured], untouched: Sequence[Measured]) -> tuple[Value, ...]:
    """What has a value. Of the untouched model, readings for the first edit batch or for none."""
    before = {reading.criterion.name: reading.value for reading in reversed(untouched)}
    return tuple(
        Value(
            reading.criterion.name,
            reading.criterion.scale.direction,
            reading.value,
            reading.stderr,
            reading.n,
            before.get(reading.criterion.name),
        )
        for reading in measured
        if reading.status is Status.OK and reading.value is not None
    )
