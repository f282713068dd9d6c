"""Finished runs whose parts were brought into one file: damaged, killed, continued, retried. No Ray is started."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from rayci import table
from rayci.kinds import Status
from rayci.planning.sweep import Sweep
from rayci.running.rows import publish, without_value
from rayci.storage import sealed
from rayci.storage.compaction import COMPACTED, files_of
from rayci.storage.parts import Parts
from rayci.trials import launch, run_folder
from rayci.trials.run_folder import RunFolder
from rayci.trials.settle import rows_at_hand
from tests.storage.test_compaction import Killed, kill_after

from .conftest import comparable
from .test_damaged_runs import (
    FORGERIES,
    OF_FILES,
    SPEC,
    Again,
    Damage,
    a_pipe,
    again,
    check_reading,
    items,
    parts,
    subject,
    sweep,
    whole,
)  # fmt: skip

__all__ = ["again", "subject", "sweep", "whole"]


@pytest.fixture(autouse=True)
def every_run_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "FEW", 0)


@pytest.fixture
def run(whole: Path, sweep: Sweep, tmp_path: Path) -> Path:
    """A copy of the finished run, compacted."""
    place = Path(shutil.copytree(whole, tmp_path / "run"))
    RunFolder(place).compact(sweep.planner.plan())
    return place


def sorted_items(place: Path) -> pa.Table:
    return items(place).sort_by([(name, "ascending") for name in ("stage_fingerprint", "criterion", "replicate")])


def check(run: Path, whole: Path) -> None:
    pd.testing.assert_frame_equal(comparable(run), comparable(whole), check_exact=True)
    assert sorted_items(run).equals(sorted_items(whole))
    one, other = RunFolder(run).state(), RunFolder(whole).state()
    assert [one[name] for name in ("state", "stages_done")] == [other[name] for name in ("state", "stages_done")]


def test_a_finished_run_is_compacted_and_the_same_command_computes_nothing(run: Path, whole: Path) -> None:
    written = []
    for folder in ("table", "items"):
        assert [path.name for path in files_of(run / folder)] == [COMPACTED]
        written.append((run / folder / COMPACTED).stat().st_mtime_ns)
    check(run, whole)
    done = launch(SPEC, out=run)
    assert done.complete and not done.computed and not done.notes
    check(run, whole)
    assert [(run / folder / COMPACTED).stat().st_mtime_ns for folder in ("table", "items")] == written


def test_launch_compacts_where_the_whole_plan_is_done(whole: Path, tmp_path: Path) -> None:
    plain = Path(shutil.copytree(whole, tmp_path / "plain"))
    assert launch(SPEC, out=plain, only=["rtn@4"]).complete
    assert [path.name for path in files_of(plain / "table")] == [COMPACTED]
    pd.testing.assert_frame_equal(comparable(plain), comparable(whole), check_exact=True)
    some = Path(shutil.copytree(whole, tmp_path / "some"))
    for path in parts(some)[1:]:
        path.unlink()
    RunFolder(some).compact(Sweep.open(SPEC).planner.plan())
    assert len(parts(some)) == 1 and parts(some)[0].name != COMPACTED


@pytest.mark.parametrize("folder", ["table", "items"])
@pytest.mark.parametrize("damage", [*OF_FILES, a_pipe])
def test_damage(damage: Damage, folder: str, run: Path, whole: Path, again: Again) -> None:
    damage(run / folder / COMPACTED, random.Random(f"{damage.__name__} {folder}"))
    if folder == "table" and (run / folder / COMPACTED).exists():
        check_reading(run, comparable(whole))
    again(run)
    check(run, whole)


@pytest.mark.parametrize("fault", ["its final", "its criteria", "its stage fingerprint"])
def test_a_file_with_a_right_checksum_must_still_be_of_the_sweep(
    fault: str, run: Path, whole: Path, again: Again
) -> None:
    path = run / "table" / COMPACTED
    sealed.write(FORGERIES[fault](sealed.read(path)), path)
    (note,) = again(run).notes
    assert str(path) in note and "set aside as aside/" in note
    check(run, whole)


def test_a_stage_without_items_has_no_row_in_the_compacted_file(run: Path, sweep: Sweep) -> None:
    path = run / "items" / COMPACTED
    rows = sealed.read(path)
    assert len(set(rows.column("stage_fingerprint").to_pylist())) == len(sweep.planner.plan().stages)
    failed = sweep.planner.root
    folder = RunFolder(run)
    folder.forget([failed.fingerprint])
    trial = sweep.planner.plan().trials[0]
    publish(sweep, Parts(run), trial, failed, "t", without_value(sweep, failed, Status.FAILED, "why"), None)
    folder.compact(sweep.planner.plan())
    assert [path.name for path in files_of(run / "items")] == [COMPACTED]
    assert folder.done(sweep, sweep.planner.plan()) == set(sweep.planner.plan().stages) and not folder.notes


def test_failures_are_retried(run: Path, whole: Path, sweep: Sweep, again: Again) -> None:
    plan, folder = sweep.planner.plan(), RunFolder(run)
    trial = plan.trials[0]
    stage = trial.stages[-1]
    folder.forget([stage.fingerprint])
    publish(sweep, Parts(run), trial, stage, trial.id, without_value(sweep, stage, Status.FAILED, "why"), None)
    folder.compact(plan)
    assert [path.name for path in files_of(run / "table")] == [COMPACTED]
    assert "failed" in set(table.read(run).frame["status"])
    done = rows_at_hand(sweep, plan, folder, sharing=True, retry_failed=True)
    assert done == plan.stages.keys() - {stage.fingerprint} == folder.held()
    again(run)
    check(run, whole)


def test_killed_while_it_is_compacted(whole: Path, sweep: Sweep, tmp_path: Path, again: Again) -> None:
    plan = sweep.planner.plan()
    for operations in range(0, 60, 7):
        place = Path(shutil.copytree(whole, tmp_path / f"{operations}"))
        with pytest.MonkeyPatch.context() as patch:
            kill_after(operations, patch)
            try:
                RunFolder(place).compact(plan)
                ended = True
            except Killed:
                ended = False
        check(place, whole)
        assert not again(place).notes
        check(place, whole)
        RunFolder(place).compact(plan)
        assert [path.name for path in files_of(place / "table")] == [COMPACTED]
        if ended:
            break
    assert ended


def test_rows_that_workers_wrote_elsewhere(whole: Path, sweep: Sweep, tmp_path: Path, again: Again) -> None:
    plan, folder = sweep.planner.plan(), RunFolder(tmp_path / "run", storage=tmp_path / "nodes")
    for name in ("table", "items", "store"):
        shutil.copytree(whole / name, tmp_path / "nodes" / name)
    folder.root.mkdir()
    shutil.copy(whole / "run.json", folder.root)
    assert folder.done(sweep, plan) == set(plan.stages)
    folder.compact(plan)
    folder.fetch(plan)
    assert [path.name for path in files_of(folder.parts)] == [COMPACTED], "what is there is not fetched again"
    stage = plan.trials[0].stages[-1].fingerprint
    folder.forget([stage])
    assert stage not in folder.held() and not Parts(tmp_path / "nodes").held(stage)
    assert Parts(folder.root).held(plan.trials[0].stages[0].fingerprint)
