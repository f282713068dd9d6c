"""A trial that is given up: rows with the reason at the end of the run, tried again by the same command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from rayci import table
from rayci.planning import spec as specs
from rayci.planning.sweep import Sweep
from rayci.storage.stages import Outcome
from rayci.trials import launch
from rayci.trials.assignment import absolute
from rayci.trials.run_folder import RunFolder
from rayci.trials.settle import settle
from rayci.trials.whole_stages import LOST

from .conftest import comparable


@pytest.mark.slow
def test_lost_stages_are_rows_and_then_computed(ten_trials: Path, undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    sweep = Sweep.open(absolute(specs.load(ten_trials)))
    plan = sweep.planner.plan()
    lost = next(stage for stage in plan.stages.values() if stage.chain == "rtn@4 > ft")
    after = next(stage for stage in plan.stages.values() if stage.chain.startswith("rtn@4 > ft > "))
    for stage in (lost, after):
        folder.forget([stage.fingerprint])
        folder.open_store().forget(stage.fingerprint)
        folder.open_store().free_weights(stage.fingerprint)
    folder.open_store().put_outcome(lost.fingerprint, Outcome(0.0, None, LOST))

    settle(sweep, plan, folder, folder.done(sweep, plan), ended=True)
    rows = table.read(tmp_path / "run").frame.set_index("chain")
    assert set(rows.loc[lost.chain, "status"]) == {"failed"} and set(rows.loc[lost.chain, "reason"]) == {LOST}
    assert set(rows.loc[after.chain, "status"]) == {"skipped"}

    run = launch(ten_trials, out=tmp_path / "run", workers=1)
    assert run.complete and run.counts["failed"] == run.counts["given_up"] == 0
    assert run.counts["applied"] == 2  # the lost stage and the one after it; the weights of rtn@4 were kept
    pd.testing.assert_frame_equal(comparable(tmp_path / "run"), comparable(undisturbed), check_exact=True)
