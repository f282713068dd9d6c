"""Fine-tuning against a plain torch loop, what a shorter training shares with a longer one, what relearning does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import get_scheduler

from rayci import registry
from rayci.context import Context
from rayci.criteria.recall import ForgetRecall
from rayci.data.records import Document
from rayci.interventions.training.finetune import RELEARN, Finetune, Relearn
from rayci.interventions.training.fitting import steps_of
from rayci.subject import Subject
from rayci.testbed import collection
from tests.interventions.losses import text_loss
from tests.models import differing, testbed, tiny, weights

CONTEXT = Context(collection())
ITEMS, BATCH, LR, TOKENS = 10, 4, 1e-3, 24
SMALL: dict[str, Any] = {"samples": ITEMS, "batch": BATCH, "lr": LR}
PLAIN: dict[str, Any] = {"schedule": "cosine", "rising": 0, "weight_decay": 0.0, "clip_norm": 1.0, "accumulation": 1}


def drawn(part: str) -> tuple[list[Any], Random]:
    """Items of a part with one topic, and the stream that drew them."""
    draw, items = CONTEXT.random(f"unlearning {part}"), list(getattr(CONTEXT.data, part))
    draw.shuffle(items)
    chosen = items[:ITEMS]
    draw.shuffle(chosen)
    return chosen, draw


def answer_loss(subject: Subject, questions: Sequence[Any]) -> Tensor:
    """Mean cross-entropy over the answers' tokens, a question at a time."""
    losses = []
    for asked in questions:
        prompt = subject.tokenizer(asked.prompt)["input_ids"]
        answer = subject.tokenizer(f" {asked.answer}", add_special_tokens=False)["input_ids"]
        logits = subject.model(input_ids=torch.tensor([prompt + answer])).logits[0]
        losses.append(F.cross_entropy(logits[len(prompt) - 1 : -1], torch.tensor(answer), reduction="none"))
    return torch.cat(losses).mean()


def loss_of(subject: Subject, items: Sequence[Any]) -> Tensor:
    if isinstance(items[0], Document):
        return text_loss(subject, [item.text for item in items], TOKENS)
    return answer_loss(subject, items)


def by_hand(subject: Subject, part: str, steps: int, how: dict[str, Any]) -> None:
    """So many steps of passes over ten items in batches of four, by torch's AdamW at transformers' rates."""
    items, draw = drawn(part)
    trained = list(subject.model.parameters())
    optimizer = torch.optim.AdamW(trained, lr=LR, weight_decay=how["weight_decay"])
    name = "constant_with_warmup" if how["schedule"] == "constant" else how["schedule"]
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=how["rising"], num_training_steps=steps)
    order, groups = list(range(ITEMS)), []
    while len(groups) < steps:
        batches = [order[start : start + BATCH] for start in range(0, ITEMS, BATCH)]
        groups += [batches[i : i + how["accumulation"]] for i in range(0, len(batches), how["accumulation"])]
        draw.shuffle(order)
    for group in groups[:steps]:
        optimizer.zero_grad()
        torch.stack([loss_of(subject, [items[place] for place in places]) for places in group]).mean().backward()
        torch.nn.utils.clip_grad_norm_(trained, how["clip_norm"])
        optimizer.step()
        scheduler.step()


def far(one: Subject, other: Subject) -> float:
    """The gap between two trainings, relative to how far the weights moved."""
    base, left, right = weights(tiny()), weights(one), weights(other)
    apart = torch.cat([(left[name] - right[name]).flatten() for name in base]).norm()
    return float(apart / torch.cat([(left[name] - base[name]).flatten() for name in base]).norm())


@pytest.mark.parametrize(
    ("part", "settings", "how", "steps", "passes"),
    [
        ("finetune", {"schedule": "constant", "warmup": 0.0, "epochs": 0.5}, {"schedule": "constant"}, 2, 0.8),
        ("finetune", {"schedule": "linear", "warmup": 0.5, "epochs": 2.0}, {"schedule": "linear", "rising": 3}, 6, 2.0),
        ("finetune", {"weight_decay": 0.3, "clip_norm": 0.05}, {"weight_decay": 0.3, "clip_norm": 0.05}, 3, 1.0),
        ("finetune", {"accumulation": 2, "epochs": 1.5}, {"accumulation": 2}, 3, 1.8),
        ("retain_questions", {"on": "retain", "loss_on": "answer", "epochs": 1.25}, {}, 4, 1.4),
    ],
)
def test_it_is_adamw_at_the_schedulers_rates(
    part: str, settings: dict[str, Any], how: dict[str, Any], steps: int, passes: float
) -> None:
    subject, reference = tiny(), tiny()
    cut = {} if "loss_on" in settings else {"max_tokens": TOKENS}
    receipt = subject.apply(Finetune.configure(settings={**SMALL, **cut, **settings}), CONTEXT)
    by_hand(reference, part, steps, {**PLAIN, **how})
    assert (receipt.counts["steps"], receipt.counts["passes"]) == (steps, pytest.approx(passes))
    assert far(subject, reference) < 1e-4


@pytest.mark.parametrize("accumulation", [1, 2, 5])
def test_a_shorter_training_is_the_beginning_of_a_longer_one(accumulation: int) -> None:
    subject = tiny()

    def planned(epochs: float) -> tuple[list[Any], list[float]]:
        fitting = Relearn(epochs=epochs, batch=16, samples=100, accumulation=accumulation).prepare(subject, CONTEXT)
        return [fitting.drawn.batch(places).input_ids.tolist() for step in fitting.steps for places in step], [
            *fitting.rates
        ]

    longest, rates = planned(4)
    a_pass = -(-7 // accumulation)  # steps
    for epochs, steps in (
        (1e-12, 1),
        (0.25, -(-a_pass // 4)),
        (1, a_pass),
        (1.5, -(-3 * a_pass // 2)),
        (4, 4 * a_pass),
    ):
        batches, own = planned(epochs)
        assert batches == longest[: len(batches)] and own == rates[:steps]


@pytest.mark.parametrize(("epochs", "steps"), [(0.1, 3), (0.11, 4), (2.9, 87), (1e-12, 1)])
def test_parts_of_a_pass_are_whole_steps(epochs: float, steps: int) -> None:
    passes = [tuple((place,) for place in range(30))] * 3
    assert len(steps_of(passes, epochs, 1)) == steps


def test_relearn_is_a_preset_of_finetune() -> None:
    attack, named = Finetune.configure("relearn"), Relearn()
    assert attack.model_dump() == named.model_dump()
    assert RELEARN["epochs"] == named.epochs and named.reads() == {"forget"}
    assert registry.intervention("relearn").configure("published", 0.25).epochs == 0.25


@pytest.mark.parametrize(("method", "loss"), [("finetune", "last_loss"), ("gd", "forget_loss")])
def test_a_text_of_one_token_teaches_nothing(method: str, loss: str) -> None:
    """It is no target: only what follows a token is predicted."""
    texts = (Document("Question"),) * 3
    subject = tiny()
    before = weights(subject)
    subject._tokenizer = OneToken(subject.tokenizer)  # type: ignore[assignment]
    step = registry.intervention(method).configure(settings={"last_layers": 1, "samples": 3, "storage": "float32"})
    receipt = subject.apply(step, Context(replace(CONTEXT.data, finetune=texts, forget=texts, retain=texts)))
    assert receipt.counts[loss] == 0.0 and not differing(subject, before)


class OneToken:
    """A tokenizer that begins no text with a token of its own."""

    def __init__(self, inner: Any) -> None:
        self.pad_token_id, self._inner = inner.pad_token_id, inner

    def __call__(self, text: str, **how: Any) -> Any:
        return self._inner(text, add_special_tokens=False)


@pytest.mark.slow
@pytest.mark.parametrize("unlearner", ["npo_klr", "gd", "rmu", "ga_klr"])
def test_relearning_brings_back_what_was_forgotten(unlearner: str) -> None:
    """More of it with more training; as much training on other text brings back little."""
    subject = testbed()
    subject.apply(registry.intervention(unlearner).configure("testbed"), CONTEXT)
    forgotten, after = weights(subject), {}
    for method, epochs in (("finetune", 1), ("relearn", 0.25), ("relearn", 1), ("relearn", 4)):
        with torch.no_grad():
            for name, value in subject.model.named_parameters():
                value.copy_(forgotten[name])
        subject.apply(registry.intervention(method).configure("testbed", epochs), CONTEXT)
        after[method, epochs] = float(ForgetRecall().measure(subject, CONTEXT).value)
    assert after["finetune", 1] <= 0.1
    assert after["relearn", 0.25] <= after["relearn", 1] <= after["relearn", 4]
    assert after["relearn", 4] > 0.8
