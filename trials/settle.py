"""Rows that need no computing: what the store knows, what was given up; and failures forgotten."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import pyarrow.compute as pc

from rayci import table
from rayci.kinds import Status
from rayci.planning.plan import Plan, Stage
from rayci.planning.sweep import Sweep
from rayci.running.readings import lost_references, stored_readings
from rayci.running.rows import Measured, blocked_by, publish, without_value
from rayci.storage.compaction import READING, by_stage
from rayci.storage.parts import Parts, ReadingKey, readings_in
from rayci.storage.stages import Outcome, StageStore
from rayci.trials.run_folder import RunFolder
from rayci.trials.whole_stages import LOST


def rows_at_hand(sweep: Sweep, plan: Plan, folder: RunFolder, *, sharing: bool, retry_failed: bool) -> set[str]:
    """Stages that have their rows, or get them from the store without computing."""
    if retry_failed:
        forget_failures(sweep, plan, folder)
    done, store = folder.done(sweep, plan), folder.open_store()
    if sharing and len(done) < len(plan.stages) and not store.empty:
        done = settle(sweep, plan, folder, done)
    if len(done) < len(plan.stages) and lost_references(sweep, store, sweep.planner.root):
        done.discard(sweep.planner.root.fingerprint)  # what is left is compared with its records
    return done


def settle(sweep: Sweep, plan: Plan, folder: RunFolder, done: Collection[str], *, ended: bool = False) -> set[str]:
    """Write the rows of stages that the store has readings of, or a failure; the stages with rows then.

    A lost part of the table comes back in this way, another run's stages are taken over, and,
    when the run has `ended`, trials that were given up get rows with a reason; before, they are
    to be tried again.
    """
    store, parts = folder.open_store(), Parts(folder.root)
    outcomes = {fingerprint: store.outcome(fingerprint) for fingerprint in plan.stages}
    for fingerprint, outcome in outcomes.items():
        if not ended and fingerprint not in done and outcome is not None and outcome.failure == LOST:
            store.forget(fingerprint)
            outcomes[fingerprint] = None
    written = set(done)
    for trial in plan.trials:
        blocked: str | None = None
        for stage in trial.stages:
            outcome = outcomes[stage.fingerprint] if blocked is None else None
            if stage.fingerprint not in written:
                held = parts.held(stage.fingerprint)
                rows = _rows(sweep, store, stage, blocked, outcome, held)
                if rows is not None:
                    publish(sweep, parts, trial, stage, plan.owners[stage.fingerprint], rows, outcome)
                    written.add(stage.fingerprint)
            if outcome is not None and outcome.failure is not None:
                blocked = blocked_by(stage, outcome.failure)
    folder.notes += store.take_notes()
    return written


def skip(sweep: Sweep, plan: Plan, folder: RunFolder, trials: Iterable[int], reasons: Mapping[int, str]) -> None:
    """Write rows with status skipped for what is left of the trials with a reason; stages of the other `trials` stay.

    `trials` and the keys of `reasons` are indices in the plan.
    """
    if not reasons:
        return
    others = {stage.fingerprint for i in trials if i not in reasons for stage in plan.trials[i].stages}
    parts, written = Parts(folder.root), folder.held() | others
    for index, reason in reasons.items():
        trial = plan.trials[index]
        for stage in trial.stages:
            if stage.fingerprint not in written:
                rows = without_value(sweep, stage, Status.SKIPPED, reason)
                publish(sweep, parts, trial, stage, plan.owners[stage.fingerprint], rows, None)
                written.add(stage.fingerprint)


def _rows(
    sweep: Sweep,
    store: StageStore,
    stage: Stage,
    blocked: str | None,
    outcome: Outcome | None,
    held: Collection[ReadingKey],
) -> list[Measured] | None:
    """What the store knows of a stage, or why there is nothing; None where it is still to be computed."""
    if blocked is not None:
        return without_value(sweep, stage, Status.SKIPPED, blocked)
    if outcome is None:
        return None
    if outcome.failure is not None:
        return without_value(sweep, stage, Status.FAILED, outcome.failure)
    return stored_readings(sweep, store, stage, held)


def forget_failures(sweep: Sweep, plan: Plan, folder: RunFolder) -> None:
    """Remove what failed, and what was skipped because of it, from table and store; other rows stay as they are.

    Where a step failed, that is its stage and those after it; where a criterion failed, its readings alone. What does
    not apply to a stage did not fail.
    """
    folder.done(sweep, plan)  # sets aside what cannot be read
    rows = table.read(folder.root).arrow.select([*READING, "status"]) if folder.held() else None
    if rows is None:
        return
    store, lost = folder.open_store(), set[str]()
    failed = by_stage(rows.filter(pc.field("status") == Status.FAILED.value))
    ok = set(rows.filter(pc.field("status") == Status.OK.value).column("stage_fingerprint").to_pylist())

    def step_failed(stage: str) -> bool:
        outcome = store.outcome(stage) if stage in failed and stage not in ok else None
        return stage in failed and stage not in ok and (outcome is None or outcome.failure is not None)

    for trial in plan.trials:
        first = next((stage.depth for stage in trial.stages if step_failed(stage.fingerprint)), len(trial.stages))
        lost |= {stage.fingerprint for stage in trial.stages[first:]}
    folder.forget(lost)
    for stage in lost:
        store.forget(stage)
    single = {stage: readings_in(rows) for stage, rows in failed.items() if stage in plan.stages and stage not in lost}
    folder.drop(single)
    for stage, readings in single.items():
        store.forget_readings(stage, (criterion for criterion, _ in readings))
