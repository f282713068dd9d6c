"""Run a sweep on Ray: plan, skip what is done, run the rest, settle what was lost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayci import table
from rayci.planning import spec as specs
from rayci.planning import yaml_source
from rayci.planning.plan import Plan
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.trials.assignment import Assignment, absolute
from rayci.trials.knobs import DEFAULT, Knobs
from rayci.trials.run_folder import RunFolder
from rayci.trials.selection import Selection
from rayci.trials.settle import forget_failures, settle

if TYPE_CHECKING:
    from rayci.table import ResultTable


@dataclass(frozen=True)
class Run:
    """A sweep that was run: where its results are and how it went."""

    plan: Plan
    folder: RunFolder
    complete: bool
    """Whether every stage that was asked for has its rows; False after an interruption."""
    computed: bool
    """Whether anything was computed now; False where all had been done before."""
    counts: dict[str, int]
    """Trials by state, steps applied, stages shared."""
    notes: tuple[str, ...] = ()
    """What happened beside the rows: a damaged stage set aside, a full disk, memory that did not suffice."""

    @property
    def table(self) -> ResultTable:
        """The result table; read anew at every call."""
        return table.read(self.folder.root)


def launch(spec: Spec | Path | str, knobs: Knobs = DEFAULT, /, **changes: Any) -> Run:
    """Run a sweep, or the rest of it, and return its handle: `launch("sweep.yaml", workers=2)`.

    `changes` are fields of `Knobs`. Ray does not start where nothing is left to do. Raises
    RequestError, before anything is written, for what is wrong.
    """
    knobs = replace(knobs, **changes)
    source = None
    if not isinstance(spec, Spec):
        source = yaml_source.read(Path(spec))
        spec = specs.from_source(source)
    selection = Selection.of(spec, knobs.only, knobs.replicate, knobs.seed)
    sweep = Sweep.open(absolute(spec), source)
    # Rows of another sweep may lie at the same place.
    place = f"{str(knobs.storage).rstrip('/')}/{spec.name}-{sweep.fingerprint[:12]}" if knobs.storage else None
    folder = RunFolder(Path(knobs.out or Path("runs") / spec.name), knobs.store, place)
    folder.check(sweep)
    knobs.check()
    plan = sweep.planner.plan()
    wanted = selection.indices(plan)
    with folder.locked():
        folder.open_store().check()
        folder.describe(sweep, plan)
        if knobs.retry_failed:
            forget_failures(folder, plan)
        done = folder.done(plan)
        new = folder.own_store and not done  # its store is empty
        if knobs.sharing and not new and len(done) < len(plan.stages):
            done = settle(sweep, plan, folder, done)
        todo = [i for i in wanted if any(stage.fingerprint not in done for stage in plan.trials[i].stages)]
        if not todo:
            counts = {"total": len(wanted), "done": len(wanted)}
            return Run(plan, folder, True, False, counts, tuple(folder.notes))
        return _run(sweep, plan, folder, wanted, todo, done, knobs)


def _run(
    sweep: Sweep, plan: Plan, folder: RunFolder, wanted: list[int], todo: list[int], done: set[str], knobs: Knobs
) -> Run:
    from rayci.trials.experiments import Experiments  # Ray loads only where there is something to run

    folder.tidy()
    assignment = Assignment(sweep.spec, folder.workers_parts, folder.store, knobs)
    experiments = Experiments(sweep, plan, assignment, folder, todo, done, total=len(wanted))
    counts, notes = experiments.run()
    folder.fetch(plan)
    if counts["given_up"]:
        settle(sweep, plan, folder, folder.done(plan), ended=True)
    asked = {stage.fingerprint for i in wanted for stage in plan.trials[i].stages}
    complete = all(folder.part(stage).is_file() for stage in asked)
    return Run(plan, folder, complete, True, counts, (*folder.notes, *notes))
