"""Operations by hand: every figure comes from the method's own settings, the model's shapes and the data's sizes."""

from __future__ import annotations

from typing import Any

import pytest

from rayci import registry
from rayci.effort import Effort
from rayci.intervention import Intervention
from rayci.model.shapes import sketch
from rayci.workload import Texts, Workload

P = 689_280
CONTEXT, BLOCKS = 256, 4
LINEARS = 4 * (5 * 128 * 128 + 2 * 64 * 128)
TWO_BLOCKS = 2 * P + 2 * P * 2 / BLOCKS + 2 * 2 * 98_560
"""A token there, back through two blocks of four, and the gradients of their weights."""


RMU = 3 * ((2 * 8 + 2 * 4) * (2 * LINEARS * 2 / 4 + 2 * LINEARS * 1 / 4 + 2 * 128 * 128) + 2 * LINEARS * 2 / 4 * 2 * 4)
"""Two blocks there, one of them back, one weight; and the retain text through the frozen ones."""


def make(name: str, **settings: Any) -> Intervention:
    return registry.intervention(name).configure("testbed", settings=settings)


@pytest.fixture(scope="module")
def work() -> Workload:
    lengths = {"finetune": 70, "finetune_questions": 80}
    texts = Texts(edit=20, question=30, items=100, lengths=lengths)
    return Workload(sketch("testbed").subject, edits=10, texts=texts)


@pytest.mark.parametrize(
    ("method", "operations"),
    [
        (make("rtn", bits=4), 100 * P),
        (make("wanda", sparsity=0.5, sequences=3, length=7), 2 * 2 * 3 * 7 * LINEARS + 100 * P),
        (make("hqq", bits=4, iterations=6), 4 * 100 * P),
        (make("layerdrop", blocks=2, sequences=3, length=7), 2 * 3 * 7 * LINEARS),
        (
            make("gptq", bits=4, sequences=3, length=7),  # and for each of four inputs a Hessian, its factor, its sweep
            2 * 2 * 21 * LINEARS
            + 100 * P
            + 4 * (4 * (2 * 21 * 128**2 + 4 / 3 * 128**3) + (256 + 128 + 256 + 128) * 128**2),
        ),
        (make("awq", bits=4, sequences=3, length=7), (1 + 10) * (2 * 2 * 3 * 7 * LINEARS + 100 * P)),  # and 20 ratios
        (make("ft", minibatch=3, epochs=5), 5 * 10 * 20 * (2 * P + 2 * P * 3 / BLOCKS + 2 * 2 * 128 * 128)),
        (make("ft", steps=5), 5 * 10 * 20 * (2 * P + 2 * P * 3 / BLOCKS + 2 * 2 * 128 * 128)),  # layers 1 and 2
        (make("lora", steps=40, retain_weight=0), 40 * 4 * P * 10 * 20),  # no weight of the model has a gradient
        (make("lora", steps=40, retain_batch=4, max_tokens=8), 40 * P * (4 * 10 * 20 + (4 + 2) * 4 * 8)),
        (make("ga", samples=8, epochs=2, max_tokens=9), TWO_BLOCKS * 8 * 2 * 9),
        (make("ga", last_layers=None, samples=8, epochs=2, max_tokens=9), 6 * P * 8 * 2 * 9),
        (make("ga", samples=8, epochs=2, max_tokens=10**4), TWO_BLOCKS * 8 * 2 * CONTEXT),  # never beyond the context
        (make("ga", samples=None, epochs=1, max_tokens=9), TWO_BLOCKS * 100 * 9),
        (make("ga", samples=8, epochs=2, max_tokens=9, max_steps=1, batch=2, accumulation=3), TWO_BLOCKS * 6 * 9),
        (make("ga", samples=8, epochs=1, loss_on="answer"), TWO_BLOCKS * 8 * 30),
        (make("gd", samples=8, epochs=1, max_tokens=9), 2 * TWO_BLOCKS * 8 * 9),
        (make("ga_klr", samples=8, epochs=1, max_tokens=9), 2 * (TWO_BLOCKS + P) * 8 * 9),
        (make("npo_gdr", samples=8, epochs=4, max_tokens=9), 2 * (TWO_BLOCKS * 4 + P) * 8 * 9),
        (make("refusal", samples=8, epochs=3, replies=["No."]), TWO_BLOCKS * 8 * 3 * (30 + 4)),
        (make("task_vector", samples=8, epochs=1, max_tokens=9), TWO_BLOCKS * 8 * 9),
        (make("finetune", samples=8, epochs=0.5, max_tokens=9), 6 * P * 4 * 9),
        (make("finetune", samples=None, epochs=2, last_layers=2), TWO_BLOCKS * 2 * 100 * 70),
        (make("relearn", samples=8, epochs=0.5, loss_on="answer", last_layers=2), TWO_BLOCKS * 4 * 30),
        (make("finetune", samples=8, loss_on="answer", last_layers=2), TWO_BLOCKS * 8 * 80),
        (make("sure", method="ga", settings={"samples": 8, "epochs": 1, "max_tokens": 9}), TWO_BLOCKS * 8 * 9),
        (make("rmu", layer=1, update=1, max_batches=3, batch=2, max_tokens=8, retain_tokens=4), RMU),
        (
            make(
                "rmu_lat", layer=1, update=1, latent_layers=(0,), max_batches=3, batch=2, max_tokens=8, retain_tokens=4
            ),
            RMU + 3 * 4 * 6 * P * 2 * 8,  # and 4 steps of the adversary
        ),
    ],
    ids=lambda it: it.name if isinstance(it, Intervention) else "",
)
def test_steps(method: Intervention, operations: float, work: Workload) -> None:
    assert float(method.operations(work)) == pytest.approx(operations)


def test_memits_prompts_are_its_own_and_its_covariances_serve_all_batches(work: Workload) -> None:
    def effort(work: Workload, **settings: Any) -> Effort:
        return Effort.of(make("memit", documents=1, max_tokens=2, passes=25, **settings).operations(work))

    def expected(prompts: int, batches: int) -> float:
        text = 2 * 2 * LINEARS / BLOCKS + 2 * 2 * 128**2  # two tokens through one block, and their products
        keys, search = prompts * 30 * 2 * P / BLOCKS, 3 * 25 * prompts * 10 * 2 * P * 3 / BLOCKS
        return text / batches + keys + search

    bare = effort(work, contexts=("{}",))  # with the essence two prompts; seven by default
    assert bare.loaded == pytest.approx(expected(10 * 2, 1))
    assert effort(work).loaded == pytest.approx(expected(10 * 7, 1))
    assert bare.fp64 == pytest.approx(128**2 * (128 / 3 + 2 * 10))
    many = effort(Workload(work.subject, edits=10, replicates=4, texts=work.texts), contexts=("{}",))
    assert many.loaded == pytest.approx(expected(10 * 2, 4)) and many.fp64 == bare.fp64


def test_what_alphaedit_and_rome_take_beside_memit(work: Workload) -> None:
    def effort(name: str, replicates: int = 1, **settings: Any) -> Effort:
        sizes = Workload(work.subject, edits=10, replicates=replicates, texts=work.texts)
        return Effort.of(
            make(name, documents=1, max_tokens=2, passes=25, contexts=("{}",), **settings).operations(sizes)
        )

    memit, null, single = effort("memit"), effort("alphaedit"), effort("rome")
    assert null.loaded == single.loaded == memit.loaded
    assert single.blocks - memit.blocks == pytest.approx(
        3 * 25 * (10 - 1) * 3
    )  # of four blocks the three above the first
    eigenvectors = 9 * 128**3  # once for all edit batches
    solved = 10 * (4 * 128**2 + 2 * 128 * (10 + 128)) + 10**3 / 3 + 2 * 10**2 * 128
    assert null.fp64 == pytest.approx(eigenvectors + solved)
    assert effort("alphaedit", 4).fp64 == pytest.approx(eigenvectors / 4 + solved)


def test_what_is_no_product_is_stated_beside(work: Workload) -> None:
    passes = work.forward_operations(100, passes=2)
    assert (passes.blocks, passes.fp32) == (2 * BLOCKS, 0)
    assert passes.moved == 2 * 4 * P + 100 * (BLOCKS * 4 * (40 + 8) * 128 + 16 * work.vocabulary)
    steps = work.step_operations(["model.layers.0.mlp.down_proj.weight"], 3)
    assert float(steps) == 0 and steps.moved == 3 * 44 * 128**2 and steps.blocks == pytest.approx(0.3)


def test_a_row_that_is_written_passes_the_blocks_for_every_token(work: Workload) -> None:
    fluency = registry.criterion("fluency").model_validate({"tokens": 50, "limit": 7})
    assert Effort.of(fluency.operations(work)).blocks == BLOCKS * (50 + 2)


@pytest.mark.parametrize(
    ("name", "settings", "tokens"),
    [
        ("edit_success", {}, 10 * (20 + 8)),
        ("edit_locality", {}, 10 * 10 * (20 + 8)),
        ("utility", {}, 14_042 * 256),
        ("perplexity", {}, 300_000),
        ("wikitext_ppl", {}, 300_000),
        ("kl_to_base", {}, 2 * 300_000 + 50),
        ("edit_nll", {}, 10 * 20),
        ("nll_ratio", {}, 10 * 20 + 300_000),
        ("latency", {}, 6 * 160),
        ("forget_recall", {"samples": 7}, 7 * 30),
        ("retain_recall", {}, 100 * 30),
        ("sparsity", {}, 0.5),
    ],
)
def test_criteria(name: str, settings: dict[str, Any], tokens: float, work: Workload) -> None:
    criterion = registry.criterion(name).model_validate(settings)
    assert float(criterion.operations(work)) == pytest.approx(2 * P * tokens)


def test_answers_take_the_memory_of_answers(work: Workload) -> None:
    text, answer = (make("gd", loss_on=loss_on).memory(work) for loss_on in ("text", "answer"))
    assert answer < text


def test_fewer_tokens_in_a_forward_pass_take_less_memory(work: Workload) -> None:
    utility = registry.criterion("utility")
    assert utility.model_validate({"forward_tokens": 4096}).memory(work) < utility().memory(work)
