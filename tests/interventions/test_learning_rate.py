"""Learning rates of a training against transformers' schedulers on torch's `LambdaLR`."""

from __future__ import annotations

import pytest
import torch
from transformers import get_scheduler

from rayci.interventions.training.learning_rate import Schedule, rates


def by_transformers(schedule: Schedule, steps: int, rising: int) -> list[float]:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=rising, num_training_steps=steps)
    seen = []
    for _ in range(steps):
        seen.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize(
    ("steps", "warmup", "rising"), [(1, 0.0, 0), (1, 0.9, 0), (7, 0.0, 0), (40, 0.1, 4), (50, 0.58, 29), (9, 0.25, 2)]
)
def test_rates_are_those_of_transformers(schedule: Schedule, steps: int, warmup: float, rising: int) -> None:
    assert rates(schedule, steps, warmup) == pytest.approx(by_transformers(schedule, steps, rising), abs=1e-12)
