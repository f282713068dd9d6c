"""Sweeps on Ray Tune: the only place that imports Ray.

`plan(spec)` says what a sweep runs, `launch(spec)` runs it and returns its handle; `Knobs` are its options, a
`Callback` is told what happens.
For one's own Tuner: `CompositionTrial` is the Trainable, `Assignment` what all its trials are given, `trial_config`
the config of one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["Assignment", "Callback", "CompositionTrial", "Knobs", "launch", "plan", "trial_config"]

if TYPE_CHECKING:
    from rayci.trials.asked_spec import plan
    from rayci.trials.assignment import Assignment, trial_config
    from rayci.trials.callback import Callback
    from rayci.trials.driver import launch
    from rayci.trials.knobs import Knobs
    from rayci.trials.trainable import CompositionTrial

_HOMES = {
    "Assignment": "assignment",
    "Callback": "callback",
    "CompositionTrial": "trainable",
    "Knobs": "knobs",
    "launch": "driver",
    "plan": "asked_spec",
    "trial_config": "assignment",
}


def __getattr__(name: str) -> Any:
    # Ray loads on first use, so that a finished sweep can be looked at without it.
    if name not in _HOMES:
        raise AttributeError(f"module 'rayci.trials' has no attribute {name!r}")
    return getattr(import_module(f"rayci.trials.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
