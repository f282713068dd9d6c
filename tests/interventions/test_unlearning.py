"""Gradient ascent and difference against an independent loop, and what they do to a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rayci import registry
from rayci.context import Context
from rayci.data.records import Document
from rayci.errors import RequestError
from rayci.interventions.batches import balanced
from rayci.interventions.unlearning.gradient import GradientAscent, GradientDifference
from rayci.subject import Subject
from rayci.testbed import collection
from tests.interventions.losses import text_loss
from tests.models import differing, testbed, tiny, weights

CONTEXT = Context(collection())
LR, TOKENS = 1e-3, 24
SMALL: dict[str, Any] = {
    "last_layers": 2,
    "samples": 10,
    "batch": 2,
    "lr": LR,
    "max_tokens": TOKENS,
    "storage": "float32",
}


def drawn(part: str, count: int) -> list[str]:
    documents = balanced(getattr(CONTEXT.data, part), count, CONTEXT.random(f"unlearning {part}"))
    return [document.text for document in documents]


def by_hand(subject: Subject, *, accumulation: int, alpha: float) -> None:
    """One epoch of mean gradients over `accumulation` batches of two, stepped by torch's Adam."""
    forget, retain = drawn("forget", 10), drawn("retain", 10)
    blocks = len(subject.blocks)
    trained = [p for index in (blocks - 2, blocks - 1) for p in subject.block(index).parameters()]
    optimizer = torch.optim.Adam(trained, lr=LR)
    starts = list(range(0, 10, 2))
    for first in range(0, len(starts), accumulation):
        group = starts[first : first + accumulation]
        losses = [_loss(subject, forget[i : i + 2], retain[i : i + 2], alpha) for i in group]
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()


def _loss(subject: Subject, forget: Sequence[str], retain: Sequence[str], alpha: float) -> torch.Tensor:
    loss = -text_loss(subject, forget, TOKENS)
    return loss + alpha * text_loss(subject, retain, TOKENS) if alpha else loss


def assert_close(left: Subject, right: Subject, start: Subject) -> None:
    """Equal but for rounding, relative to how far the weights moved."""
    now, then, before = weights(left), weights(right), weights(start)
    moved = torch.cat([(then[name] - before[name]).abs().flatten() for name in then])
    gap = torch.cat([(then[name] - now[name]).abs().flatten() for name in then])
    assert moved.max() > LR / 2
    assert gap.mean() < 2e-3 * moved.mean()


@pytest.mark.parametrize("accumulation", [1, 2, 5])
def test_ascent_is_adam_on_averaged_gradients(accumulation: int) -> None:
    subject, reference = testbed(), testbed()
    # five batches: with two to a step the last step has one, where a sum would not be a mean
    receipt = subject.apply(GradientAscent(accumulation=accumulation, **SMALL), CONTEXT)
    assert receipt.counts["steps"] == -(-5 // accumulation)
    by_hand(reference, accumulation=accumulation, alpha=0.0)
    assert_close(subject, reference, testbed())


@pytest.mark.parametrize("alpha", [1.0, 40.0])
def test_difference_adds_the_retain_loss(alpha: float) -> None:
    subject, reference = testbed(), testbed()
    subject.apply(GradientDifference(accumulation=2, alpha=alpha, **SMALL), CONTEXT)
    by_hand(reference, accumulation=2, alpha=alpha)
    assert_close(subject, reference, testbed())


def test_another_accumulation_is_another_result() -> None:
    subject, reference = testbed(), testbed()
    subject.apply(GradientAscent(accumulation=2, **SMALL), CONTEXT)
    by_hand(reference, accumulation=1, alpha=0.0)
    with pytest.raises(AssertionError):
        assert_close(subject, reference, testbed())


@pytest.mark.parametrize("method", [GradientAscent, GradientDifference])
def test_exactly_the_last_blocks_change(method: type[GradientAscent]) -> None:
    subject = testbed()
    before = weights(subject)
    receipt = subject.apply(method(**{**SMALL, "last_layers": 1, "samples": 4}), CONTEXT)
    last = {name for name in before if name.startswith("model.layers.3.")}
    assert differing(subject, before) == last == set(receipt.changed)


def losses(subject: Subject) -> tuple[float, float]:
    """Forget and retain loss on texts as drawn."""
    with torch.no_grad():
        forget, retain = drawn("forget", 20), drawn("retain", 20)
        return text_loss(subject, forget, 64).item(), text_loss(subject, retain, 64).item()


def test_ascent_raises_the_forget_loss_and_the_retain_term_protects() -> None:
    base, ascended, guarded = testbed(), testbed(), testbed()
    settings = {**SMALL, "samples": 40, "batch": 4, "accumulation": 1, "max_tokens": 64}
    ascended.apply(GradientAscent(**settings), CONTEXT)
    guarded.apply(GradientDifference(alpha=4.0, **settings), CONTEXT)
    (forget, retain), (forget_ga, retain_ga), (forget_gd, retain_gd) = map(losses, (base, ascended, guarded))
    assert forget_ga > forget + 1
    assert forget_gd > forget
    assert retain_gd < retain_ga
    assert retain_gd - retain < 0.5 * (retain_ga - retain)


def test_without_weight_the_retain_text_does_not_matter() -> None:
    plain, weightless = testbed(), testbed()
    plain.apply(GradientAscent(**SMALL), CONTEXT)
    weightless.apply(GradientDifference(alpha=0.0, **SMALL), CONTEXT)
    assert differing(plain, weights(weightless)) == set()


def test_epochs_pass_over_the_same_documents() -> None:
    receipt = testbed().apply(GradientAscent(accumulation=1, epochs=3, **SMALL), CONTEXT)
    assert receipt.counts["steps"] == 15


def test_bfloat16_storage_leaves_weights_that_bfloat16_holds() -> None:
    subject = testbed()
    receipt = subject.apply(GradientAscent(**{**SMALL, "storage": "bfloat16"}), CONTEXT)
    for name, value in subject.parameters_of(receipt.changed).items():
        assert value.detach().equal(value.detach().bfloat16().float()), name


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.data())
def test_topics_take_turns(sizes: list[int], data: st.DataObject) -> None:
    documents = [Document(f"{topic}-{i}", str(topic)) for topic, size in enumerate(sizes) for i in range(size)]
    count = data.draw(st.integers(1, len(documents)))
    chosen = balanced(documents, count, Random(0))
    assert len(chosen) == count == len({document.text for document in chosen})
    counts = Counter(document.topic for document in chosen)
    # no topic has two documents more than another one that still had some to give
    for topic, size in enumerate(sizes):
        if counts[str(topic)] < size:
            assert max(counts.values()) - counts[str(topic)] <= 1


def test_the_testbeds_topics_are_balanced_and_draws_are_seeded() -> None:
    documents = CONTEXT.data.forget
    topics = {document.topic for document in documents}
    first = balanced(documents, 2 * len(topics), Random(1))
    assert set(Counter(document.topic for document in first).values()) == {2}
    assert balanced(documents, 2 * len(topics), Random(1)) == first
    assert balanced(documents, 2 * len(topics), Random(2)) != first


@pytest.mark.parametrize("method", [GradientAscent, GradientDifference])
def test_more_samples_than_documents_are_refused_with_the_number_to_use(method: type[GradientAscent]) -> None:
    subject = tiny()
    before = weights(subject)
    made = method(last_layers=1, samples=10**6)
    with pytest.raises(RequestError, match="items were asked for"):
        subject.apply(made, CONTEXT)
    faults = list(subject.faults(made, CONTEXT))
    assert [fault.hint for fault in faults] == [
        f"samples = {len(getattr(CONTEXT.data, p))}" for p in sorted(made.needs)
    ]
    assert {fault.at for fault in faults} == {CONTEXT.data.sources["forget"]}
    assert differing(subject, before) == set()


@pytest.mark.parametrize("method", [GradientAscent, GradientDifference])
def test_more_layers_than_the_model_has_are_refused(method: type[GradientAscent]) -> None:
    subject = tiny()
    before = weights(subject)
    with pytest.raises(RequestError, match="layer"):
        subject.apply(method(last_layers=4), CONTEXT)
    assert differing(subject, before) == set()


def test_ascent_destroys_the_testbed_by_default_and_has_a_usable_middle() -> None:
    middle = {"last_layers": None, "lr": 3e-5, "loss_on": "answer", "samples": 128, "batch": 16, "epochs": 20}
    values = {}
    for name, settings in (("default", {}), ("middle", {**middle, "stop_loss": 6.0})):
        subject = testbed()
        subject.apply(GradientAscent.configure("testbed", None, settings), CONTEXT)
        measured = (registry.criterion(criterion)() for criterion in ("hazard", "utility", "perplexity"))
        values[name] = [criterion.measure(subject, CONTEXT).value for criterion in measured]
    (_, ruined, _), (hazard, utility, perplexity) = values["default"], values["middle"]
    assert ruined < 0.7
    assert hazard < 0.75
    assert utility > 0.85
    assert perplexity < 5


def test_published_weights_are_stored_in_bfloat16_and_nothing_is_clipped() -> None:
    for made in (GradientAscent(), GradientDifference()):
        assert (made.storage, made.clip_norm) == ("bfloat16", None)
        assert (type(made).configure("testbed").storage, type(made).configure("muse_news").clip_norm) == ("float32", 1)
