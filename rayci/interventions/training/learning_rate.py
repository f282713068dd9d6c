"""How the learning rate of a training goes up and down, as shares of its highest value.

The forms are those of transformers' `get_scheduler`: warm-up along a line from 0, then constant, along a line to 0, or
along half a cosine to 0.
"""

from __future__ import annotations

from math import cos, pi
from typing import Literal

Schedule = Literal["constant", "linear", "cosine"]


def rates(schedule: Schedule, steps: int, warmup: float) -> tuple[float, ...]:
    """The rate of each step, in units of the highest.

    `warmup` is the share of the steps that rise, in [0, 1), rounded down: a single step has a rate, which it
    would not have under transformers' `Trainer`, which rounds up. The first of several that rise has rate 0, as there.
    """
    rising = int(warmup * steps + 1e-9)
    return tuple(
        step / rising if step < rising else _after(schedule, (step - rising) / (steps - rising))
        for step in range(steps)
    )


def _after(schedule: Schedule, done: float) -> float:
    """The rate once `done`, a share in [0, 1), of what follows the warm-up is over."""
    if schedule == "constant":
        return 1.0
    return 1.0 - done if schedule == "linear" else 0.5 * (1.0 + cos(pi * done))
