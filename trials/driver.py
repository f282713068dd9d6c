"""Run a sweep on Ray: plan, skip what is done, run the rest, settle what was lost."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayci import table
from rayci.data import downloaded_files
from rayci.forecast.estimator import Estimator
from rayci.forecast.probe import Probe
from rayci.forecast.rates import saved
from rayci.forecast.stage_times import known_times
from rayci.planning.faults import Blame
from rayci.planning.plan import Plan
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.planning.yaml_source import Source
from rayci.storage.stages import located
from rayci.trials.asked_spec import Asked, read_spec
from rayci.trials.assignment import Assignment, absolute
from rayci.trials.callback import Callback
from rayci.trials.knobs import DEFAULT, Knobs
from rayci.trials.limits import Limits
from rayci.trials.process import put_back
from rayci.trials.run_folder import RunFolder
from rayci.trials.selection import Selection
from rayci.trials.session import Prepared, Session, session
from rayci.trials.settle import rows_at_hand, settle, skip

if TYPE_CHECKING:
    from rayci.table import ResultTable


@dataclass(frozen=True)
class Run:
    """A sweep that was run: where its results are and how it went."""

    plan: Plan
    """What was asked for: the sweep's trials, or those of them that were chosen."""
    folder: RunFolder
    complete: bool
    """Whether every stage that was asked for has its rows; False after an interruption."""
    computed: bool
    """Whether anything was computed now; False where all had been done before."""
    counts: dict[str, int]
    """Trials by state, steps applied, stages shared."""
    left: str = ""
    """What is left because of a limit: the same command goes on with it. Empty where nothing is."""
    notes: tuple[str, ...] = ()
    """What happened beside the rows: a damaged stage set aside, a full disk, memory that did not suffice."""

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items() if count or name == "done")
        state = "complete" if self.complete else "stopped at its limit" if self.left else "interrupted"
        return f"Run({self.plan.spec.name}: {state}, {counts}, {len(self.notes)} notes, in {self.folder.root})"

    @property
    def table(self) -> ResultTable:
        """The result table; read anew at every call."""
        return table.read(self.folder.root)


def launch(spec: Asked, knobs: Knobs = DEFAULT, /, *, callbacks: Sequence[Callback] = (), **changes: Any) -> Run:
    """Run a sweep, or the rest of it, and return its handle: `launch("quickstart", workers=2)`.

    `spec`: a file, the name of a spec that ships with rayci, a `Spec`, or a mapping like the YAML of one.
    `changes` are fields of `Knobs`. `callbacks` are told what happens, see `Callback`. Ray does not start where
    nothing is left to do. Raises RequestError, before anything is written, for what is wrong.
    """
    chosen = replace(knobs, **changes)
    with put_back():
        return _launch(*read_spec(spec, chosen.set), chosen, callbacks)


def _launch(spec: Spec, source: Source, knobs: Knobs, callbacks: Sequence[Callback]) -> Run:
    selection = Selection.of(spec, knobs.only, knobs.replicate, knobs.seed)
    sweep = Sweep.open(absolute(spec), source)
    folder = _folder(sweep, knobs)
    folder.check(sweep)
    knobs.check()
    limits = Limits.of(knobs, spec.resources)
    plan = sweep.planner.plan()
    wanted = selection.indices(plan)
    asked = Plan(plan.spec, tuple(plan.trials[index] for index in wanted))
    nothing_done = knobs.storage is None and not folder.root.exists() and _store_is_new(folder)
    prepared = Prepared(sweep, plan, _estimator(sweep, folder), knobs, folder, Blame(source))
    with ExitStack() as stack:
        # Refused before anything is written.
        ray = stack.enter_context(session(prepared, wanted)) if nothing_done else None
        folder.open_store().check()
        stack.enter_context(folder.locked())
        folder.describe(sweep, plan, asked)
        done = rows_at_hand(sweep, plan, folder, sharing=knobs.sharing, retry_failed=knobs.retry_failed)
        folder.begin(plan.stages.keys() - done)
        todo = [i for i in wanted if any(stage.fingerprint not in done for stage in plan.trials[i].stages)]
        if not todo:
            counts = {"total": len(wanted), "done": len(wanted)}
            folder.report_progress(counts)
            folder.compact(plan)
            return Run(asked, folder, True, False, counts, notes=(*sweep.notes, *folder.notes))
        folder.tidy()
        ray = ray or stack.enter_context(session(prepared, todo))
        ray.preflight.save(folder.root)
        for note in () if knobs.quiet else ray.preflight.notes:  # while there is time to act on them
            print(f"note: {note}", file=sys.stderr, flush=True)
        return _run(prepared, ray, wanted, asked, todo, done, limits, callbacks)


def _run(
    prepared: Prepared,
    ray: Session,
    wanted: Sequence[int],
    asked: Plan,
    todo: list[int],
    done: Collection[str],
    limits: Limits,
    callbacks: Sequence[Callback],
) -> Run:
    """Run what is left, `todo`, of the trials that are wanted, and settle what was lost or skipped."""
    from rayci.trials.experiments import Experiments  # Ray loads only where there is something to run

    sweep, plan, folder = prepared.sweep, prepared.plan, prepared.folder
    experiments = Experiments(
        _estimator(sweep, folder),  # which knows by now how fast the nodes are
        plan,
        _assignment(sweep, folder, prepared.knobs),
        folder,
        ray,
        todo,
        done,
        total=len(wanted),
        limits=limits,
        callbacks=callbacks,
    )
    counts, notes = experiments.run()
    folder.fetch(plan)
    if counts["given_up"]:
        settle(sweep, plan, folder, folder.done(sweep, plan), ended=True)
    skip(sweep, plan, folder, wanted, experiments.unplaced)
    complete = asked.stages.keys() <= folder.held()
    folder.compact(plan)
    told = (*sweep.notes, *ray.preflight.notes, *folder.notes, *notes)
    return Run(asked, folder, complete, True, counts, experiments.left, told)


def _store_is_new(folder: RunFolder) -> bool:
    store = Path(folder.store)
    return folder.own_store or ("://" not in folder.store and not store.exists() and store.parent.is_dir())


def _estimator(sweep: Sweep, folder: RunFolder) -> Estimator:
    times = known_times(sweep.spec.model, folder.root)
    return Estimator(sweep.planner, times, Probe.of_run(folder.root), sweep.data)


def _assignment(sweep: Sweep, folder: RunFolder, knobs: Knobs) -> Assignment:
    downloads, single = downloaded_files.folder(), sweep.spec.dtype == "float32"
    return Assignment(
        sweep.spec,
        folder.workers_results,
        folder.store,
        knobs,
        hashes=sweep.hashes,
        content=sweep.content,
        commit=sweep.commit,
        downloads=None if downloads is None else str(downloads),
        rates={each.device: each.fp32 if single else each.bf16 for each in saved(folder.root)},
    )


def _folder(sweep: Sweep, knobs: Knobs) -> RunFolder:
    # Rows of another sweep may lie at the same place.
    name = f"{sweep.spec.name}-{sweep.fingerprint[:12]}"
    place = f"{located(knobs.storage).rstrip('/')}/{name}" if knobs.storage else None
    return RunFolder(Path(knobs.out or Path("runs") / sweep.spec.name), knobs.store, place)
