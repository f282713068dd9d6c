"""Experiment trackers through Ray's own integrations: one tracked run a trial, the criteria as its metrics."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rayci.errors import RequestError, nearest

PACKAGES = {"wandb": "wandb", "mlflow": "mlflow", "tensorboard": "tensorboardX"}
"""Tracker -> the package that it needs."""


def known_loggers(names: Sequence[str]) -> None:
    """RequestError for a tracker that is unknown or not installed."""
    for name in names:
        if name not in PACKAGES:
            hint = nearest(name, PACKAGES)
            raise RequestError(f"no tracker {name!r}", at="--log", allowed=", ".join(PACKAGES), hint=hint)
        if find_spec(PACKAGES[name]) is None:
            raise RequestError(f"{name} is not installed", at="--log", hint=f"pip install {PACKAGES[name]}")


def trackers(names: Sequence[str], sweep: str, folder: Path) -> list[Any]:
    """Tune callbacks of the trackers.

    Weights & Biases: project = the sweep's name, or WANDB_PROJECT. MLflow: MLFLOW_TRACKING_URI, or
    `<run folder>/mlflow.db`. TensorBoard: `tensorboard --logdir <run folder>/tune`.
    """
    found: list[Any] = []
    for name in names:
        if name == "wandb":
            from ray.air.integrations.wandb import WandbLoggerCallback

            found.append(WandbLoggerCallback(project=os.environ.get("WANDB_PROJECT", sweep), log_config=False))
        elif name == "mlflow":
            from ray.air.integrations.mlflow import MLflowLoggerCallback

            uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
            found.append(MLflowLoggerCallback(tracking_uri=uri, experiment_name=sweep))
        else:
            from ray.tune.logger import TBXLoggerCallback

            found.append(TBXLoggerCallback())
    return found
