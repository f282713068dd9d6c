"""A ten-trial sweep on the testbed, and its table from an undisturbed run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest

from rayci import table
from rayci.planning.plan import Stage, Trial
from rayci.trials import Callback, launch

TEN_TRIALS = """\
model: testbed
interventions:
  ft: {steps: 6}
  gd: {max_steps: 8}
  wanda: {sparsity: 0.5}
  rtn: {bits: 4}
compose: {singles: false}
criteria: [edit_success, edit_locality_agreement, hazard, perplexity, avg_bits]
"""


def comparable(run: Path) -> pd.DataFrame:
    """The table without the columns that hold times and what hosts report."""
    return table.read(run).frame.drop(columns=list(table.VOLATILE)).astype({"steps": str})


@pytest.fixture(scope="session")
def ten_trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The spec's file."""
    path = tmp_path_factory.mktemp("spec") / "ten.yaml"
    path.write_text(TEN_TRIALS)
    return path


@dataclass
class Told(Callback):
    """Remembers what it is told of, and raises at every trial."""

    stages: list[tuple[Trial, Stage, dict[str, float]]] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    """Of the run."""

    def stage_done(self, trial: Trial, stage: Stage, values: Mapping[str, float]) -> None:
        self.stages.append((trial, stage, dict(values)))

    def trial_done(self, trial: Trial) -> None:
        self.trials.append(trial)
        raise ValueError("not today")


@pytest.fixture(scope="session")
def told() -> Told:
    """What a callback of the undisturbed run was told."""
    return Told()


@pytest.fixture(scope="session")
def undisturbed(ten_trials: Path, told: Told, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of it with one worker, which keeps every stage."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    done = launch(ten_trials, out=run, workers=1, keep="all", callbacks=[told])
    assert done.complete
    told.notes = done.notes
    return run
