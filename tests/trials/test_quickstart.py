"""The quickstart itself, as slow tests: the table of 1 and 2 workers, with sharing and without."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from rayci.trials import launch

from .conftest import comparable

QUICKSTART = Path(__file__).parents[2] / "trials" / "specs" / "quickstart.yaml"


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("quickstart") / "run"
    assert launch(QUICKSTART, out=run, workers=1).complete
    return run


@pytest.mark.slow
@pytest.mark.parametrize("sharing", [True, False])
def test_same_table(sharing: bool, one_worker: Path, tmp_path: Path) -> None:
    run = launch(QUICKSTART, out=tmp_path / "run", workers=2, sharing=sharing)
    assert run.complete
    pd.testing.assert_frame_equal(comparable(tmp_path / "run"), comparable(one_worker), check_exact=True)


@pytest.mark.slow
def test_trends_of_the_literature(one_worker: Path) -> None:
    frame = comparable(one_worker)
    values = frame.groupby(["chain", "criterion"])["value"].mean().unstack()
    success, utility, hazard = values["edit_success"], values["utility"], values["hazard"]
    assert success[""] == 0 and success["ft"] > 0.85
    falling = [success[chain] for chain in ("ft", "ft > wanda@0.25", "ft > wanda@0.45", "ft > wanda@0.65")]
    assert falling == sorted(falling, reverse=True) and falling[-1] < 0.5 < falling[1]
    assert utility["ft > wanda@0.45"] > 0.95  # utility stays while edits are lost
    assert success["ft > rtn@8"] > 0.85 > success["ft > rtn@4"] > 0.5 > success["ft > rtn@2"]
    assert hazard["gd"] < 0.45 and utility["gd"] > 0.95
    assert hazard["gd > wanda@0.65"] + 0.15 < hazard["wanda@0.65 > gd > refit(wanda@0.65)"]  # unlearn before pruning
    refit, dense = success["wanda@0.65 > ft > refit(wanda@0.65)"], success["wanda@0.65 > ft"]
    assert dense - refit > 0.15  # re-compression decides in which direction the order matters
