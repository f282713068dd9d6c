"""Refusal training against an independent loop; replies are drawn by the seed; what it does to the testbed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from rayci import registry
from rayci.context import Context
from rayci.errors import DataError, RequestError
from rayci.interventions.batches import choose
from rayci.interventions.unlearning.loop import Loop
from rayci.interventions.unlearning.refusal import Refusal
from rayci.model.encoding import IGNORED
from rayci.testbed import collection
from tests.interventions.losses import batch_loss
from tests.interventions.test_unlearning import assert_close
from tests.models import differing, testbed, tiny, weights

CONTEXT = Context(collection())
SMALL: dict[str, Any] = {"last_layers": 2, "samples": 6, "batch": 2, "epochs": 1, "lr": 1e-3, "storage": "float32"}


def drawn(seed: int = 0, **settings: Any) -> list[tuple[str, str]]:
    training = Refusal(**{**SMALL, **settings}).prepare(testbed(), Context(CONTEXT.data, seed=seed))
    assert isinstance(training, Loop)
    return [(item.prompt, item.answer) for item in training.forget.drawn.items]


def test_forget_questions_get_replies_drawn_by_the_seed() -> None:
    pairs = drawn(samples=100)
    assert [prompt for prompt, _ in pairs] == [q.prompt for q in choose(CONTEXT, "forget_questions", 100)[0]]
    assert {reply for _, reply in pairs} == set(Refusal().replies)
    assert drawn() == drawn()
    assert [reply for _, reply in drawn()] != [reply for _, reply in drawn(seed=1)]


def test_a_training_equals_an_independent_loop() -> None:
    subject, reference = testbed(), testbed()
    receipt = subject.apply(Refusal(**SMALL), CONTEXT)
    assert receipt.counts["steps"] == 3
    pairs, trained = drawn(), [p for index in (2, 3) for p in reference.block(index).parameters()]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)
    for start in (0, 2, 4):
        losses = []
        for prompt, reply in pairs[start : start + 2]:
            question = reference.tokenizer(prompt)["input_ids"]
            answer = reference.tokenizer(" " + reply, add_special_tokens=False)["input_ids"]
            logits = reference.model(torch.tensor([question + answer])).logits[0, len(question) - 1 : -1]
            losses.append(F.cross_entropy(logits, torch.tensor(answer), reduction="none"))
        optimizer.zero_grad()
        torch.cat(losses).mean().backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
    assert_close(subject, reference, testbed())


def test_labels_are_the_replies_alone() -> None:
    subject = testbed()
    training = Refusal(**SMALL).prepare(subject, CONTEXT)
    assert isinstance(training, Loop)
    questions = training.forget.drawn
    batch = questions.batch((0, 1, 2))
    for place, labels in enumerate(batch.labels):
        reply = subject.tokenizer(" " + questions.items[place].answer, add_special_tokens=False)["input_ids"]
        assert labels[labels != IGNORED].tolist() == reply


def test_bad_requests_touch_no_weight() -> None:
    subject = tiny()
    before = weights(subject)
    with pytest.raises(RequestError, match="layer"):
        subject.apply(Refusal(last_layers=4), CONTEXT)
    with pytest.raises(DataError, match="forget_questions"):
        subject.apply(Refusal(last_layers=1), Context(type(CONTEXT.data)()))
    with pytest.raises(RequestError, match="replies"):
        Refusal.configure("published", None, {"replies": []})
    assert differing(subject, before) == set()


def test_bfloat16_storage_and_equal_bits() -> None:
    first, again = testbed(), testbed()
    receipt = first.apply(Refusal(**{**SMALL, "storage": "bfloat16"}), CONTEXT)
    again.apply(Refusal(**{**SMALL, "storage": "bfloat16"}), CONTEXT)
    assert differing(first, weights(again)) == set()
    for value in first.parameters_of(receipt.changed).values():
        assert value.detach().equal(value.detach().bfloat16().float())


def test_on_the_testbed_answers_become_refusals() -> None:
    subject = testbed()
    recall, utility = registry.criterion("forget_recall")(), registry.criterion("utility")()
    assert recall.measure(subject, CONTEXT).value > 0.95
    subject.apply(Refusal.configure("testbed"), CONTEXT)
    assert recall.measure(subject, CONTEXT).value < 0.1
    assert utility.measure(subject, CONTEXT).value >= 0.9
    training = Refusal.configure("testbed").prepare(subject, CONTEXT)
    assert isinstance(training, Loop)
    batch = training.forget.drawn.batch(range(20))
    with torch.no_grad():
        assert batch_loss(subject, batch) < 0.6 * batch_loss(testbed(), batch)
