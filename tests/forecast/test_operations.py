"""Operations by hand: every figure comes from the method's own settings, the model's shapes and the data's sizes."""

from __future__ import annotations

from typing import Any

import pytest

from rayci import registry
from rayci.intervention import Intervention
from rayci.model.shapes import sketch
from rayci.workload import Texts, Workload

P = 689_280
CONTEXT, BLOCKS = 256, 4
LINEARS = 4 * (5 * 128 * 128 + 2 * 64 * 128)


def make(name: str, **settings: Any) -> Intervention:
    return registry.intervention(name).configure("testbed", settings=settings)


@pytest.fixture(scope="module")
def work() -> Workload:
    return Workload(sketch("testbed").subject, edits=10, texts=Texts(edit=20, question=30, items=100))


@pytest.mark.parametrize(
    ("method", "operations"),
    [
        (make("rtn", bits=4), 100 * P),
        (make("wanda", sparsity=0.5, sequences=3, length=7), 2 * 2 * 3 * 7 * LINEARS),
        (make("awq", bits=4, sequences=3, length=7), (2 + 20) * 2 * 3 * 7 * LINEARS),  # and 20 ratios
        (make("ft", steps=5), 5 * 6 * P * 10 * 20),
        (make("lora", steps=40, retain_weight=0), 40 * 6 * P * 10 * 20),
        (make("lora", steps=40, retain_batch=4, max_tokens=8), 40 * P * (6 * 10 * 20 + 8 * 4 * 8)),
        (make("ga", samples=8, epochs=2, max_tokens=9), 6 * P * 8 * 2 * 9),
        (make("ga", samples=8, epochs=2, max_tokens=10**4), 6 * P * 8 * 2 * CONTEXT),  # never beyond the context
        (make("ga", samples=None, epochs=1, max_tokens=9), 6 * P * 100 * 9),
        (make("ga", samples=8, epochs=2, max_tokens=9, max_steps=1, batch=2, accumulation=3), 6 * P * 6 * 9),
        (make("ga", samples=8, epochs=1, loss_on="answer"), 6 * P * 8 * 30),
        (make("gd", samples=8, epochs=1, max_tokens=9), 12 * P * 8 * 9),
        (make("ga_klr", samples=8, epochs=1, max_tokens=9), 14 * P * 8 * 9),
        (make("refusal", samples=8, epochs=3), 6 * P * 8 * 3 * 30),
        (make("task_vector", samples=8, epochs=1, max_tokens=9), 6 * P * 8 * 9),
        (make("sure", method="ga", settings={"samples": 8, "epochs": 1, "max_tokens": 9}), 6 * P * 8 * 9),
        (make("rmu", layer=1, max_batches=3, batch=2, max_tokens=8, retain_tokens=4), 3 * 2 * P / 2 * (6 * 12 + 2 * 4)),
        (
            make("rmu_lat", layer=1, latent_layers=(0,), max_batches=3, batch=2, max_tokens=8, retain_tokens=4),
            3 * 2 * P / 2 * (6 * 12 + 2 * 4) + 3 * 4 * 6 * P * 2 * 8,  # and 4 steps of the adversary
        ),
    ],
    ids=lambda it: it.name if isinstance(it, Intervention) else "",
)
def test_steps(method: Intervention, operations: float, work: Workload) -> None:
    assert method.operations(work) == pytest.approx(operations)


def test_memits_prompts_are_its_own_and_its_covariances_serve_all_batches(work: Workload) -> None:
    def search(**settings: Any) -> float:
        return make("memit", documents=1, max_tokens=2, passes=25, **settings).operations(work)

    bare = search(contexts=("{}",))  # with the essence two prompts; seven by default
    text = 2 * P / BLOCKS * 2
    assert bare - text == pytest.approx(6 * P * 3 / BLOCKS * 25 * 10 * 2 * (20 + 10))
    assert search() - text == pytest.approx(7 / 2 * (bare - text))
    many = Workload(work.subject, edits=10, replicates=4, texts=work.texts)
    again = make("memit", documents=1, max_tokens=2, passes=25, contexts=("{}",)).operations(many)
    assert bare - again == pytest.approx(text * 3 / 4)


@pytest.mark.parametrize(
    ("name", "settings", "tokens"),
    [
        ("edit_success", {}, 10 * 20),
        ("edit_locality", {}, 10 * 10 * 20),
        ("utility", {}, 14_042 * 256),
        ("perplexity", {}, 300_000),
        ("wikitext_ppl", {}, 300_000),
        ("kl_to_base", {}, 2 * 300_000 + 50),
        ("edit_nll", {}, 10 * 20),
        ("nll_ratio", {}, 10 * 20 + 300_000),
        ("latency", {}, 6 * 160),
        ("forget_recall", {"samples": 7}, 7 * 30),
        ("retain_recall", {}, 100 * 30),
        ("sparsity", {}, 50),
    ],
)
def test_criteria(name: str, settings: dict[str, Any], tokens: int, work: Workload) -> None:
    criterion = registry.criterion(name).model_validate(settings)
    assert criterion.operations(work) == pytest.approx(2 * P * tokens)


def test_answers_take_the_memory_of_answers(work: Workload) -> None:
    text, answer = (make("gd", loss_on=loss_on).memory(work) for loss_on in ("text", "answer"))
    assert answer < text


def test_fewer_tokens_in_a_forward_pass_take_less_memory(work: Workload) -> None:
    utility = registry.criterion("utility")
    assert utility.model_validate({"forward_tokens": 4096}).memory(work) < utility().memory(work)
