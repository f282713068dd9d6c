"""Clipping: the norm over all trained parameters is held to the limit, shorter gradients are left alone."""

from __future__ import annotations

import pytest
import torch

from rayci.interventions.trainer import Trainer, block_parameters
from rayci.model.encoding import encode_texts
from tests.interventions.losses import batch_loss
from tests.models import tiny, weights


@pytest.mark.parametrize(("limit", "clipped"), [(None, False), (1e-3, True), (1e6, False)])
def test_a_step_of_plain_descent_is_as_long_as_the_clipped_gradient(limit: float | None, clipped: bool) -> None:
    subject = tiny()
    before, names = weights(subject), block_parameters(subject, (1, 2))
    trainer = Trainer(subject, names, lambda masters: torch.optim.SGD(masters, lr=1.0), clip_norm=limit)
    batch_loss(subject, encode_texts(subject.tokenizer, ["Clip this text.", "And that."], 20)).backward()
    gradient = {
        name: value.grad.clone() for name, value in subject.parameters_of(names).items() if value.grad is not None
    }
    assert gradient.keys() == set(names)
    norm = torch.cat([value.flatten() for value in gradient.values()]).norm().item()
    trainer.step()
    step = {name: before[name] - value for name, value in weights(subject).items() if name in gradient}
    scale = limit / norm if limit and clipped else 1.0
    for name, value in step.items():
        torch.testing.assert_close(value, scale * gradient[name], rtol=1e-2, atol=1e-6)
