"""Rows that need no computing: what the store knows, what was given up; and failures forgotten."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow.compute as pc

from rayci import table
from rayci.kinds import Status
from rayci.planning.plan import Plan, Stage
from rayci.planning.sweep import Sweep
from rayci.running.readings import stored_readings
from rayci.running.rows import Measured, blocked_by, publish, without_value
from rayci.storage.parts import Parts
from rayci.storage.stages import Outcome, StageStore
from rayci.trials.run_folder import RunFolder
from rayci.trials.whole_stages import LOST


def rows_at_hand(sweep: Sweep, plan: Plan, folder: RunFolder, *, sharing: bool, retry_failed: bool) -> set[str]:
    """Stages that have their rows, or get them from the store without computing."""
    if retry_failed:
        forget_failures(sweep, plan, folder)
    done = folder.done(sweep, plan)
    if sharing and len(done) < len(plan.stages) and not folder.open_store().empty:
        return settle(sweep, plan, folder, done)
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
                rows = _rows(sweep, store, stage, blocked, outcome)
                if rows is not None:
                    publish(sweep, parts, trial, stage, plan.owners[stage.fingerprint], rows, outcome)
                    written.add(stage.fingerprint)
            if outcome is not None and outcome.failure is not None:
                blocked = blocked_by(stage, outcome.failure)
    folder.notes += store.take_notes()
    return written


def _rows(
    sweep: Sweep, store: StageStore, stage: Stage, blocked: str | None, outcome: Outcome | None
) -> list[Measured] | None:
    """What the store knows of a stage, or why there is nothing; None where it is still to be computed."""
    if blocked is not None:
        return without_value(sweep, stage, Status.SKIPPED, blocked)
    if outcome is None:
        return None
    if outcome.failure is not None:
        return without_value(sweep, stage, Status.FAILED, outcome.failure)
    return stored_readings(sweep, store, stage)


def forget_failures(sweep: Sweep, plan: Plan, folder: RunFolder) -> None:
    """Remove rows, outcomes and readings of every stage that has a row without a value."""
    done = folder.done(sweep, plan)
    if not done:
        return
    rows = table.read(folder.root).arrow.filter(pc.field("status") != Status.OK.value)
    failed = done.intersection(rows.column("stage_fingerprint").unique().to_pylist())
    folder.forget(failed)
    store = folder.open_store()
    for stage in failed:
        store.forget(stage)
