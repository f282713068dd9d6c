"""The quantisation failure, as a slow test: what comes back at 4 bits, and under which storage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from rayci.trials import launch

from .conftest import comparable

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "trials" / "specs" / "unlearning_vs_quantization_testbed.yaml"
BF16, FP32 = "{storage=bfloat16}", "{storage=float32}"
COME_BACK = [f"{method}{BF16}" for method in ("npo_klr", "ga_klr")]
STAY = [*(f"{method}{FP32}" for method in ("npo_klr", "ga_klr")), "sure@90"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    run = tmp_path_factory.mktemp("quantization") / "run"
    assert launch(SPEC, out=run, workers=2).complete
    return run


@pytest.fixture(scope="module")
def values(folder: Path) -> pd.DataFrame:
    """Chain by seed -> criteria; every row must have a value."""
    frame = comparable(folder)
    assert set(frame["status"]) == {"ok"}
    table = frame.pivot_table(index=["chain", "seed"], columns="criterion", values="value", dropna=False)
    return table.dropna(how="all")  # pandas also fills in pairs that are not there


def seeds(values: pd.DataFrame, chain: str) -> pd.DataFrame:
    found = values.loc[chain]
    assert len(found) == 3
    return found


@pytest.mark.slow
def test_the_untouched_model_knows_the_facts_at_every_precision(values: pd.DataFrame) -> None:
    assert (values.loc[["", "rtn@8", "rtn@4"], "forget_recall"] > 0.9).all()


@pytest.mark.slow
@pytest.mark.parametrize("unlearner", COME_BACK + STAY)
def test_facts_are_forgotten_in_full_precision_and_at_8_bits(values: pd.DataFrame, unlearner: str) -> None:
    for chain in (unlearner, f"{unlearner} > rtn@8"):
        found = seeds(values, chain)
        assert (found["forget_recall"] <= 0.3).all()
        assert (found["utility"] >= 0.9).all()
        assert (found["retain_recall"] >= 0.85).all()


@pytest.mark.slow
@pytest.mark.parametrize("unlearner", COME_BACK)
def test_at_4_bits_they_come_back_under_bfloat16_storage(values: pd.DataFrame, unlearner: str) -> None:
    recovered = seeds(values, f"{unlearner} > rtn@4")["forget_recall"]
    assert (recovered >= 0.4).all()
    assert recovered.mean() >= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("unlearner", STAY)
def test_at_4_bits_they_stay_forgotten_under_float32_storage_and_with_sure(
    values: pd.DataFrame, unlearner: str
) -> None:
    assert (seeds(values, f"{unlearner} > rtn@4")["forget_recall"] <= 0.35).all()


@pytest.mark.slow
def test_the_readme_shows_the_table_of_this_run(folder: Path) -> None:
    """The same rows and columns; on another processor the values may differ in the last place."""
    script = [sys.executable, str(ROOT / "docs" / "make_headline.py"), str(folder)]
    made = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
    shown = (ROOT / "README.md").read_text().splitlines()
    assert made[0] in shown
    first = shown.index(made[0])
    assert [line.split("|")[1] for line in shown[first : first + len(made)]] == [line.split("|")[1] for line in made]
