"""The table does not depend on the number of workers, on sharing, or on who computed what."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from rayci import table
from rayci.planning import plan, spec
from rayci.trials import launch

from .conftest import comparable


@pytest.mark.slow  # test_killed compares the same, of two workers that are disturbed
def test_two_workers(ten_trials: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = launch(ten_trials, out=tmp_path / "run", workers=2)
    assert run.counts["applied"] == run.plan.summary()["stages_computed"]
    pd.testing.assert_frame_equal(comparable(tmp_path / "run"), comparable(undisturbed), check_exact=True)


@pytest.mark.slow
def test_sharing_off(ten_trials: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = launch(ten_trials, out=tmp_path / "run", workers=2, sharing=False)
    assert run.counts["applied"] == run.plan.summary()["stages_asked"]
    pd.testing.assert_frame_equal(comparable(tmp_path / "run"), comparable(undisturbed), check_exact=True)


def test_the_plan_shown_is_the_plan_run(ten_trials: Path, undisturbed: Path) -> None:
    shown = plan.make(spec.load(ten_trials))
    frame = table.read(undisturbed).frame
    assert set(frame["trial_id"]) <= {trial.id for trial in shown.trials}
    assert {stage.chain for stage in shown.stages.values()} == set(frame["chain"])
    assert {trial.composition for trial in shown.trials} <= set(frame[frame["final"]]["composition"])
    assert len(frame) == shown.summary()["evaluations_computed"]
    assert frame["stage_fingerprint"].nunique() == shown.summary()["stages_computed"] + 1


def test_second_time_computes_nothing(ten_trials: Path, undisturbed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (undisturbed / "table").iterdir()}
    again = launch(ten_trials, out=undisturbed)
    assert again.complete and not again.computed
    assert {path: path.stat().st_mtime_ns for path in (undisturbed / "table").iterdir()} == before


def test_readings_of_another_run_are_taken_over(ten_trials: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = launch(ten_trials, out=tmp_path / "run", store=undisturbed / "store", workers=1)
    assert run.complete and not run.computed
    pd.testing.assert_frame_equal(comparable(tmp_path / "run"), comparable(undisturbed), check_exact=True)


@pytest.mark.slow
def test_several_experiments(
    ten_trials: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rayci.trials.experiments.EXPERIMENT", 2)
    chosen = ["ft > wanda@0.5", "ft > rtn@4", "wanda@0.5 > ft", "gd > rtn@4", "rtn@4 > gd"]
    run = launch(ten_trials, out=tmp_path / "run", only=chosen, workers=1)
    assert run.complete and run.counts["done"] == 5
    expected, found = comparable(undisturbed), comparable(tmp_path / "run")
    assert run.counts["applied"] == found[found["stage"] > 0]["stage_fingerprint"].nunique()
    kept = expected[expected["stage_fingerprint"].isin(set(found["stage_fingerprint"]))].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, kept, check_exact=True)


def test_a_workers_visits_fill_its_time(undisturbed: Path) -> None:
    frame = table.read(undisturbed).frame
    spent = frame.groupby("recorded_at")[[name for name in table.SECONDS if name != "measure_seconds"]].first()
    seconds = spent.sum(axis=1) + frame.groupby("recorded_at")["measure_seconds"].sum()
    stamps = seconds.index.to_series()
    assert len(seconds) == frame["stage_fingerprint"].nunique() and set(frame["device_rate"].notna()) == {True}
    assert seconds.iloc[1:].sum() == pytest.approx((stamps.iloc[-1] - stamps.iloc[0]).total_seconds(), rel=0.05)
