"""Damage that a restart meets: parts and weights that are cut short, a disk without room. No Ray is started."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from rayci import table
from rayci.export import build, of_run
from rayci.forecast.estimator import Estimator
from rayci.forecast.stage_times import known_times
from rayci.kinds import Status
from rayci.model import loading
from rayci.planning.faults import Blame
from rayci.planning.plan import Plan
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.running.rows import publish, without_value
from rayci.running.runner import Runner
from rayci.storage.parts import Parts
from rayci.storage.stages import Outcome, StageStore
from rayci.trials.assignment import Assignment
from rayci.trials.capacity import Capacity
from rayci.trials.experiments import Experiments
from rayci.trials.knobs import DEFAULT, Knobs
from rayci.trials.reservations import reservations_of
from rayci.trials.run_folder import RunFolder
from rayci.trials.session import Session
from rayci.trials.settle import forget_failures, settle

SPEC = Spec.model_validate(
    {
        "name": "t",
        "model": "testbed",
        "interventions": {"ft": {"steps": 3}, "rtn": {"bits": {"sweep": [3, 4, 8]}}},
        "compose": {"orders": "listed"},
        "criteria": ["hazard"],
    }
)


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    return Sweep.open(SPEC)


def experiments(sweep: Sweep, plan: Plan, folder: RunFolder, done: set[str], knobs: Knobs = DEFAULT) -> Experiments:
    todo = [i for i, trial in enumerate(plan.trials) if any(stage.fingerprint not in done for stage in trial.stages)]
    assignment = Assignment(sweep.spec, folder.workers_results, folder.store, knobs)
    estimator = Estimator(sweep.planner, known_times(SPEC.model, folder.root))
    session = Session(reservations_of(plan, estimator), Capacity([]), Blame(None), unplaced={})
    return Experiments(estimator, plan, assignment, folder, session, todo, done, total=len(plan.trials))


@pytest.mark.parametrize("weights", ["whole", "set aside", "of a writer that died"])
def test_stored_weights_are_used_or_computed_once(weights: str, sweep: Sweep, tmp_path: Path) -> None:
    plan, folder = sweep.planner.plan(), RunFolder(tmp_path / "run")
    edited = next(stage.fingerprint for stage in plan.stages.values() if stage.chain == "ft")
    place = tmp_path / "run" / "store" / edited[:2] / edited
    StageStore(folder.store).put_weights(edited, {"w": torch.ones(9)}, [])
    if weights == "set aside":
        (place / "weights.safetensors").write_bytes(b"")
        assert StageStore(folder.store).weights(edited) is None
    elif weights == "of a writer that died":
        (place / "receipts.json").unlink()
    begun = experiments(sweep, plan, folder, {plan.trials[0].stages[0].fingerprint, edited})
    ready = []
    while (index := begun._schedule.next()) is not None:
        ready.append(index)
    going_on = [i for i in ready if len(plan.trials[i].stages) == 3]
    assert len(going_on) == (3 if weights == "whole" else 1)
    # Even weights that look whole may turn out to be damaged: who goes on first stores them anew.
    assert all(begun._config(i)["keep"][1] for i in going_on)


@pytest.mark.parametrize(("keep", "applied"), [("all", 0), ("shared", 1), ("none", 2)])
def test_what_stays_in_the_store_is_what_is_asked_for(keep: str, applied: int, sweep: Sweep, tmp_path: Path) -> None:
    plan, folder = sweep.planner.plan(), RunFolder(tmp_path / "run")
    begun = experiments(sweep, plan, folder, set(), Knobs(keep=keep))
    index = next(i for i, trial in enumerate(plan.trials) if trial.composition == "ft > rtn@4")
    config, trial = begun._config(index), plan.trials[index]
    assert config["keep"][1:] == [True, keep == "all"]  # others go on from the first of these
    folder.describe(sweep, plan, plan)
    runner = Runner(sweep, loading.load(sweep.folder), folder.open_store(), folder.root)
    assert not any(report.failure for report in runner.run(trial, config["owners"], config["keep"]))
    begun._free([stage.fingerprint for stage in trial.stages])
    assert build(of_run(folder.root, only="ft > rtn@4")).applied == applied
    # A later run frees no stage that is yet to be measured; what another one kept goes where none is to be kept.
    folder.open_store().put_weights("ab" * 32, {"w": torch.ones(9)}, [])
    stored = folder.open_store().stored()
    experiments(sweep, plan, folder, {plan.trials[0].stages[0].fingerprint}, Knobs(keep=keep))
    assert folder.open_store().stored() == stored - ({"ab" * 32} if keep == "none" else set())


def test_failures_are_retried_beside_a_damaged_part(sweep: Sweep, tmp_path: Path) -> None:
    plan, folder = sweep.planner.plan(), RunFolder(tmp_path / "run")
    trial = next(trial for trial in plan.trials if len(trial.stages) == 3)
    for stage in trial.stages:
        failed = without_value(sweep, stage, Status.FAILED, "why")
        publish(sweep, Parts(folder.root), trial, stage, trial.id, failed, None)
    cut = folder.part(trial.stages[0].fingerprint)
    cut.write_bytes(cut.read_bytes()[:100])
    forget_failures(sweep, plan, folder)
    (note,) = folder.notes
    assert str(cut) in note and "set aside as aside/" in note
    assert not folder.done(sweep, plan)


def test_a_killed_worker_s_failure_gets_the_rows_that_the_worker_would_have_written(
    sweep: Sweep, tmp_path: Path
) -> None:
    plan = sweep.planner.plan()
    trial = next(trial for trial in plan.trials if len(trial.stages) == 3)
    tables = []
    for name in ("worker", "driver"):
        folder = RunFolder(tmp_path / name)
        folder.open_store().put_outcome(trial.stages[1].fingerprint, Outcome(1.0, None, "why"))
        if name == "worker":
            runner = Runner(sweep, loading.load(sweep.folder), folder.open_store(), folder.root)
            owners = [plan.owners[stage.fingerprint] for stage in trial.stages]
            assert [report.failure for report in runner.run(trial, owners, [False] * 3, first=1)] == [
                "why",
                "ft failed: why",
            ]
        else:
            settle(sweep, plan, folder, set())
        parts = [table.read_part(folder.part(stage.fingerprint)).rows for stage in trial.stages[1:]]
        tables.append(pa.concat_tables(parts).drop_columns(list(table.VOLATILE)))
    assert tables[0].equals(tables[1])


def test_a_full_disk_does_not_stop_the_display(tiny_disk: Path) -> None:
    folder = RunFolder(tiny_disk)
    folder.report_progress({"done": 1})
    (tiny_disk / "filler").write_bytes(bytes(60 * 1024 - len((tiny_disk / "progress.json").read_bytes())))
    folder.report_progress({"done": 2, "note": "x" * 9000})
    assert folder.progress() == {"done": 1}


def test_what_a_killed_worker_left_half_written_is_deleted_when_it_is_old(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.parts.mkdir()
    part = Parts.name("ab" * 32)
    old, young, kept = (folder.parts / name for name in (f".{part}.{'1' * 32}", f".{part}.{'2' * 32}", part))
    for path in (old, young, kept):
        path.write_bytes(b"PAR1")
    for path in (old, kept):
        os.utime(path, (time.time() - 7200,) * 2)
    folder.tidy()
    assert {path.name for path in folder.parts.iterdir()} == {young.name, kept.name}
