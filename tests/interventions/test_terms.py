"""The table of terms: what it says of every method, and that parts of a batch add up to it."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from rayci import registry
from rayci.context import Context
from rayci.interventions.gradients import Gradients
from rayci.interventions.unlearning import terms
from rayci.interventions.unlearning.forget_retain import ChosenRetain, ForgetRetain
from rayci.interventions.unlearning.loop import Loop
from rayci.interventions.unlearning.loop_settings import LoopSettings
from rayci.interventions.unlearning.terms import RETAIN, Retain
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import testbed

CONTEXT = Context(collection())
SMALL: dict[str, Any] = {"last_layers": 2, "samples": 4, "batch": 4, "epochs": 1, "max_tokens": 24}
LOOPS = {name: cls for name in registry.INTERVENTIONS if issubclass(cls := registry.intervention(name), LoopSettings)}
FAMILY = [name for name, cls in LOOPS.items() if issubclass(cls, ForgetRetain)]


def test_the_table_of_methods_is_true() -> None:
    lines = (terms.__doc__ or "").split("method       forget term")[1].split("\n\n")[0].splitlines()[1:]
    found = {}
    for name, cls in LOOPS.items():
        row = [cls.forget_term, cls.retain_term if issubclass(cls, ForgetRetain) else None]
        cells = [term.loss.__name__ for term in row if term]
        chosen = ["by", "setting"] if issubclass(cls, ChosenRetain) else []
        found[name] = [name, *cells, *chosen, cls.__module__.rpartition(".")[2]]
    assert {line.split()[0]: line.split() for line in lines} == found


@pytest.mark.parametrize("retain", get_args(Retain))
def test_a_retain_term_is_a_setting(retain: Retain) -> None:
    made = registry.intervention("wga").configure("published", None, {"retain": retain})
    assert isinstance(made, ChosenRetain)
    assert made.retained is RETAIN[retain]
    assert made.needs == ({"forget"} if retain == "none" else {"forget", "retain"})
    assert ("alpha" in made.void_settings()) == (retain == "none")


def gradients(subject: Subject, method: str, **given: Any) -> dict[str, torch.Tensor]:
    """Of the whole loss of one batch, at weights that are no longer the reference's."""
    made = registry.intervention(method).configure("published", None, {**SMALL, **given})
    assert isinstance(made, ForgetRetain)
    training = made.prepare(subject, CONTEXT)
    assert isinstance(training, Loop)
    weights = subject.parameters_of(training.names)
    for side in filter(None, (training.forget, training.retain)):
        side.before.begin(training.names)
    with torch.no_grad():
        for weight in weights.values():
            weight.mul_(0.97)
    with Gradients(weights) as taken:
        training._backward(training.forget.drawn.epochs[0][0], (0, 1, 2, 3) if training.retain else (), 1)
        return taken.take()


@pytest.mark.parametrize("method", FAMILY)
def test_the_gradients_of_parts_add_up_to_that_of_the_batch(method: str) -> None:
    whole, parts = (gradients(testbed(), method, micro_tokens=tokens) for tokens in (8192, 30))
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max()))
