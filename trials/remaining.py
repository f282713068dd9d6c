"""What is left to do of a run that was begun or finished: steps to apply, readings to take. Nothing is computed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayci import table
from rayci.criterion import Criterion
from rayci.data.records import Collection
from rayci.errors import RayciError
from rayci.kinds import Status
from rayci.planning.chain import Link
from rayci.planning.plan import Plan, Planner
from rayci.planning.sweep import Sweep, stages_asked
from rayci.running.asked_readings import lacking
from rayci.storage.parts import ReadingKey
from rayci.storage.stages import StageStore
from rayci.trials.assignment import absolute
from rayci.trials.run_folder import RunFolder


@dataclass(frozen=True)
class Remaining:
    """The work that the same command would do now."""

    steps: tuple[Link, ...]
    """Applications of a step: stages that lack readings, and those on the way there whose weights are not stored."""
    readings: tuple[Criterion, ...]
    """Measurements, each by its criterion."""
    stages_done: int
    """Stages that have all their rows."""


@dataclass(frozen=True)
class _Held:
    """What a run has of one stage."""

    stage: str
    """Its fingerprint: that of the run, which knows the model's weights."""
    readings: frozenset[ReadingKey]
    measured: bool
    """Whether the stage was there to be measured: its step did not fail, nor one before."""


def remaining(planner: Planner, plan: Plan, data: Collection, run: Path) -> Remaining | None:
    """What is left in a run folder, by its table and the weights that it stores; None where it holds no such sweep.

    Stages are known again by chain, replicate and seed, so that no model has to be read.
    """
    described = RunFolder(run).described()
    if described is None:
        return None
    asked, begun = (stages_asked(spec) for spec in (absolute(planner.spec).model_dump(mode="json"), described["spec"]))
    if {key: begun.get(key) for key in asked} != asked:
        return None
    held = _held(run, plan)
    own = run / "store"  # the run folder may have been copied
    stored = _stored(str(own) if own.is_dir() else described["store"])
    sweep = Sweep(planner.spec, Path(), data)
    left = {
        stage.fingerprint: lacking(sweep, stage, held[stage.fingerprint].readings if stage.fingerprint in held else ())
        for stage in plan.stages.values()
    }
    steps: dict[str, Link] = {}
    for trial in plan.trials:
        way: dict[str, Link] = {}
        for stage, link in zip(trial.stages[1:], planner.chain(trial.composition), strict=True):
            here = held.get(stage.fingerprint)
            way = {} if here and here.stage in stored else {**way, stage.fingerprint: link}
            if left[stage.fingerprint] and (here is None or here.measured):
                steps |= way
    readings = [criterion for missing in left.values() for criterion, _, _ in missing]
    return Remaining(tuple(steps.values()), tuple(readings), sum(not missing for missing in left.values()))


def _held(run: Path, plan: Plan) -> Mapping[str, _Held]:
    """By the plan's fingerprint of a stage."""
    rows = defaultdict[tuple[str, int | None], list[Any]](list)
    with suppress(RayciError):  # damaged or not there: it is done again
        names = (
            "chain",
            "seed",
            "replicate",
            "stage_fingerprint",
            "criterion_fingerprint",
            "status",
            "measure_seconds",
        )
        for chain, seed, *row in _columns(run, names):
            rows[chain, seed].append(row)
    held = {}
    for fingerprint, stage in plan.stages.items():
        own = [row for row in rows[stage.chain, stage.seed] if stage.replicate is None or row[0] == stage.replicate]
        if own:
            measured = any(status == Status.OK or seconds is not None for *_, status, seconds in own)
            held[fingerprint] = _Held(own[0][1], frozenset((row[2], row[0]) for row in own), measured)
    return held


def _columns(run: Path, names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    rows = table.read(run).arrow.select(names)
    return zip(*(rows.column(name).to_pylist() for name in names), strict=True)


def _stored(store: str) -> set[str]:
    with suppress(RayciError):
        return StageStore(store).stored()
    return set()
