"""Experiment trackers: TensorBoard's files hold the criteria, unknown and missing ones are one error."""

from __future__ import annotations

import importlib.util
import sqlite3
from pathlib import Path

import pytest

from rayci.errors import RequestError
from rayci.trials import launch
from rayci.trials.loggers import PACKAGES, known_loggers


def test_unknown_and_not_installed() -> None:
    with pytest.raises(RequestError, match="no tracker 'wand'") as error:
        known_loggers(["wand"])
    assert error.value.hint == "wandb" and "mlflow" in str(error.value.allowed)
    for name, package in PACKAGES.items():
        if importlib.util.find_spec(package) is None:
            with pytest.raises(RequestError, match=f"{name} is not installed") as missing:
                known_loggers([name])
            assert missing.value.hint == f"pip install {package}"


@pytest.mark.slow
def test_tensorboard(ten_trials: Path, tmp_path: Path) -> None:
    run = launch(ten_trials, out=tmp_path / "run", only=["rtn@4 > ft"], workers=1, log=["tensorboard"])
    assert run.complete
    (events,) = (tmp_path / "run" / "tune").rglob("events.out.tfevents*")
    data = events.read_bytes()
    assert all(f"ray/tune/criteria/{name}".encode() in data for name in ("avg_bits", "perplexity", "hazard"))


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs mlflow")
def test_mlflow(ten_trials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    launch(ten_trials, out=tmp_path / "run", only=["rtn@4 > ft"], workers=1, log=["mlflow"])
    with sqlite3.connect(tmp_path / "run" / "mlflow.db") as database:
        names = {row[0] for row in database.execute("select key from metrics")}
    assert {"criteria/avg_bits", "criteria/perplexity"} <= names


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="needs wandb")
def test_wandb(ten_trials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    run = launch(ten_trials, out=tmp_path / "run", only=["rtn@4 > ft"], workers=1, log=["wandb"])
    assert run.complete
    found = [path.read_bytes() for path in tmp_path.rglob("*.wandb")]
    assert len(found) == 1
    assert all(f"criteria/{name}".encode() in found[0] for name in ("avg_bits", "perplexity"))
