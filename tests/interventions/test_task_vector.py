"""The task vector's arithmetic, and that it is fine-tuning turned round."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rayci import registry
from rayci.context import Context
from rayci.errors import DataError, RequestError
from rayci.interventions.batches import choose
from rayci.interventions.trainer import rescaled
from rayci.interventions.unlearning.task_vector import TaskVector
from rayci.testbed import collection
from tests.interventions.losses import text_loss
from tests.models import differing, testbed, tiny, weights

CONTEXT = Context(collection())
SMALL: dict[str, Any] = {
    "last_layers": 2,
    "samples": 4,
    "batch": 2,
    "epochs": 2,
    "lr": 1e-3,
    "max_tokens": 24,
    "storage": "float32",
}


def test_arithmetic_by_hand() -> None:
    start, tuned = torch.tensor([1.0, 2.0, -1.0]), torch.tensor([1.5, 2.0, -2.0])
    assert rescaled(start, tuned, -5.0).equal(torch.tensor([-1.5, 2.0, 4.0]))


def fine_tuned() -> dict[str, Tensor]:
    """Two epochs over four documents by an independent loop."""
    subject = testbed()
    documents, draw = choose(CONTEXT, "forget", 4)
    trained = [p for index in (2, 3) for p in subject.block(index).parameters()]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)
    for _ in range(2):
        for group in (documents[:2], documents[2:]):
            optimizer.zero_grad()
            text_loss(subject, [document.text for document in group], 24).backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
        draw.shuffle(documents)
    return weights(subject)


def test_it_is_the_negated_and_scaled_change_of_a_fine_tuning() -> None:
    start, tuned = weights(testbed()), fine_tuned()
    one, five = testbed(), testbed()
    receipt = one.apply(TaskVector(**SMALL, scale=1.0), CONTEXT)
    five.apply(TaskVector(**SMALL), CONTEXT)
    first, fifth = weights(one), weights(five)
    changed = {name for name in start if name.startswith(("model.layers.2.", "model.layers.3."))}
    assert set(receipt.changed) == differing(one, start) == changed
    for name in changed:
        vector = tuned[name] - start[name]
        assert (start[name] - vector - first[name]).abs().mean() < 0.01 * vector.abs().mean()
        torch.testing.assert_close(fifth[name] - start[name], 5 * (first[name] - start[name]), rtol=1e-3, atol=1e-6)


def test_bfloat16_storage_leaves_weights_that_bfloat16_holds() -> None:
    subject = testbed()
    receipt = subject.apply(TaskVector(**{**SMALL, "storage": "bfloat16"}), CONTEXT)
    for value in subject.parameters_of(receipt.changed).values():
        assert value.detach().equal(value.detach().bfloat16().float())


def test_scale_is_the_strength() -> None:
    assert TaskVector().gamma == 5.0
    assert TaskVector.configure("published", 2).scale == 2.0
    with pytest.raises(RequestError, match="scale"):
        TaskVector.configure("published", 0)


def test_bad_requests_touch_no_weight() -> None:
    subject = tiny()
    before = weights(subject)
    with pytest.raises(RequestError, match="layer"):
        subject.apply(TaskVector(last_layers=4), CONTEXT)
    with pytest.raises(DataError, match="forget"):
        subject.apply(TaskVector(last_layers=1), Context(type(CONTEXT.data)()))
    with pytest.raises(DataError, match="items were asked for"):
        subject.apply(TaskVector(last_layers=1, samples=10**6), CONTEXT)
    assert differing(subject, before) == set()


def test_on_the_testbed_hazard_falls_further_than_utility() -> None:
    subject = testbed()
    subject.apply(TaskVector.configure("testbed"), CONTEXT)
    hazard, utility = (registry.criterion(name)().measure(subject, CONTEXT).value for name in ("hazard", "utility"))
    assert hazard < 0.75
    assert utility > hazard + 0.15
