"""Rows that need no computing: what the store knows, what was given up; and failures forgotten."""

from __future__ import annotations

from collections.abc import Collection

from rayci import table
from rayci.kinds import Status
from rayci.parts import Parts
from rayci.plan import Plan, Stage, Trial
from rayci.readings import stored_readings
from rayci.record import publish, without_value
from rayci.store import StageStore
from rayci.sweep import Sweep
from rayci.trials.run_folder import LOST, RunFolder


def settle(sweep: Sweep, plan: Plan, folder: RunFolder, done: Collection[str], *, ended: bool = False) -> set[str]:
    """Write the rows of stages that the store has readings of, or a failure; the stages with rows then.

    A lost part of the table comes back in this way, another run's stages are taken over, and,
    when the run has `ended`, trials that were given up get rows with a reason; before, they are
    to be tried again.
    """
    store = folder.open_store()
    for mark in () if ended else plan.stages:
        outcome = None if mark in done else store.outcome(mark)
        if outcome is not None and outcome.failure == LOST:
            store.forget(mark)
    found = set(done)
    for trial in plan.trials:
        blocked: str | None = None
        for stage in trial.stages:
            if blocked is None:
                blocked = _from_store(sweep, plan, folder, store, trial, stage, found)
            elif stage.fingerprint not in found:
                skipped = without_value(sweep, stage, Status.SKIPPED, blocked)
                owner = plan.owners[stage.fingerprint]
                publish(sweep, Parts(folder.parts), trial, stage, owner, skipped, None)
                found.add(stage.fingerprint)
    return found


def _from_store(
    sweep: Sweep, plan: Plan, folder: RunFolder, store: StageStore, trial: Trial, stage: Stage, found: set[str]
) -> str | None:
    """Write one stage's rows where the store has them; the reason why nothing follows it, if so."""
    mark = stage.fingerprint
    outcome = store.outcome(mark)
    failure = outcome.failure if outcome else None
    if outcome and mark not in found:
        failed = without_value(sweep, stage, Status.FAILED, failure) if failure else None
        readings = failed or stored_readings(sweep, store, stage)
        if readings is not None:
            publish(sweep, Parts(folder.parts), trial, stage, plan.owners[mark], readings, outcome)
            found.add(mark)
    return f"{stage.chain or 'the untouched model'} failed: {failure}" if failure else None


def forget_failures(folder: RunFolder, plan: Plan) -> None:
    """Remove rows, outcomes and readings of every stage that has a row without a value."""
    store = folder.open_store()
    for stage in folder.done(plan):
        if set(table.read_part(folder.part(stage))[0].column("status").to_pylist()) != {Status.OK}:
            folder.forget(stage)
            store.forget(stage)
