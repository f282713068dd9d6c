"""KL to the untouched model against torch in fp64, from two models side by side."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from rayci.context import Context
from rayci.criteria.divergence import Divergence, divergence
from rayci.errors import MeasurementError, RequestError
from rayci.intervention import Applied, Receipt
from rayci.interventions.compression.rtn import RoundToNearest
from rayci.subject import Subject
from rayci.testbed import collection
from tests.criteria.evaluation.test_text_likelihoods import capped, headless
from tests.models import differing, testbed, tiny, weights

CONTEXT = Context(replace(collection(), evaluation=collection().evaluation[:3]))
WINDOW = 40


@torch.no_grad()
def exact(before: Subject, now: Subject) -> list[float]:
    """KL of every predicted token, window by window, all in fp64."""
    text = "\n\n".join(document.text for document in CONTEXT.data.evaluation)
    ids = torch.tensor(before.tokenizer(text, add_special_tokens=False)["input_ids"])
    found: list[float] = []
    for window in ids.split(WINDOW):
        old, new = (
            torch.log_softmax(one.model(input_ids=window[None]).logits[0, :-1].double(), -1) for one in (before, now)
        )
        found += (old.exp() * (old - new)).sum(-1).tolist()
    return found


def changed(subject: Subject, *words: str) -> Subject:
    """The subject with noise on the parameters whose names hold one of these words, its base kept."""
    subject.remember_base()
    names = tuple(name for name, _ in subject.model.named_parameters() if any(word in name for word in words))
    with torch.no_grad():
        for index, (_, value) in enumerate(subject.parameters_of(names).items()):
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(index)) * 0.05)
    subject.applied.append(Applied(RoundToNearest(bits=4), Receipt(names)))
    return subject


def cases() -> Iterator[tuple[str, Subject, tuple[str, ...]]]:
    yield "blocks", tiny(), ("mlp", "attn")
    yield "its own output embeddings", tiny(), ("lm_head",)
    yield "tied embeddings", tiny(tied=True), ("embed", "mlp")
    yield "gpt2", tiny("gpt2"), ("mlp", "wte")
    yield "capped logits", capped(), ("mlp", "embed")
    yield "no head that is called", headless(), ("mlp", "lm_head")


@pytest.mark.parametrize(("subject", "words"), [pytest.param(*case[1:], id=case[0]) for case in cases()])
def test_divergence_is_that_of_fp64(subject: Subject, words: tuple[str, ...]) -> None:
    before = copy.deepcopy(subject)
    now = changed(subject, *words)
    expected = exact(before, now)
    reading = Divergence(window=WINDOW).measure(now, CONTEXT)
    assert reading.n == len(expected)
    assert reading.value == pytest.approx(math.fsum(expected) / reading.n, rel=1e-4, abs=1e-6)
    assert reading.value > 0.001
    assert reading.items is not None
    assert reading.items.values[0] == pytest.approx(
        math.fsum(expected[: WINDOW - 1]) / (WINDOW - 1), rel=1e-3, abs=1e-5
    )


def test_a_compressed_testbed_by_batches_of_every_size() -> None:
    subject = testbed()
    subject.remember_base()
    subject.apply(RoundToNearest(bits=3), CONTEXT)
    values = [
        Divergence(window=WINDOW, forward_tokens=size).measure(subject, CONTEXT).value for size in (1, 90, 10_000)
    ]
    expected = exact(testbed(), subject)
    assert values == pytest.approx([math.fsum(expected) / len(expected)] * 3, abs=1e-5)


def test_the_untouched_model_has_none() -> None:
    reading = Divergence().measure(tiny(), CONTEXT)
    assert reading.value == 0
    assert reading.items is not None and set(reading.items.values) == {0.0}


def test_neither_the_weights_nor_the_base_is_changed() -> None:
    subject = changed(tiny(), "mlp")
    now, base = weights(subject), {name: value.clone() for name, value in (subject.base or {}).items()}
    Divergence(window=WINDOW).measure(subject, CONTEXT)
    assert not differing(subject, now)
    assert subject.base is not None and all(subject.base[name].equal(value) for name, value in base.items())


def test_a_pass_that_fails_leaves_the_weights_as_they_are() -> None:
    subject = changed(tiny(), "mlp")
    now = weights(subject)
    with pytest.raises(ZeroDivisionError), subject.untouched():
        assert differing(subject, now), "the untouched weights are others"
        raise ZeroDivisionError
    assert not differing(subject, now)
    subject.restore()
    assert differing(subject, now), "the base is still the untouched model's"


def test_without_the_untouched_weights_nothing_is_measured() -> None:
    subject = testbed()
    subject.apply(RoundToNearest(bits=3), CONTEXT)
    with pytest.raises(RequestError, match="untouched weights were not kept"):
        Divergence().measure(subject, CONTEXT)


def test_nan_is_a_failed_measurement() -> None:
    subject = changed(tiny(), "mlp")
    with torch.no_grad():
        subject.model.get_output_embeddings().weight.fill_(math.nan)
    with pytest.raises(MeasurementError, match="NaN"):
        Divergence().measure(subject, CONTEXT)


def test_equal_logits_diverge_by_nothing_and_far_ones_by_their_distance() -> None:
    logits = torch.randn(5, 1000, generator=torch.Generator().manual_seed(0)) * 30
    assert divergence(logits, logits.clone()).tolist() == [0.0] * 5
    one = torch.tensor([[0.0, 0.0]])
    assert divergence(one, torch.tensor([[0.0, -50.0]])).item() == pytest.approx(25 - math.log(2))
