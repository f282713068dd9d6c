"""LoRA and AdaLoRA: the update itself, its rank, what changes, what is left behind."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from rayci.context import Context
from rayci.criteria.choices import Utility
from rayci.criteria.editing import EditSuccess
from rayci.data.records import Document
from rayci.errors import DataError, InterventionError, RequestError
from rayci.interventions.adapters import adapted, parts
from rayci.interventions.editing import lora
from rayci.interventions.editing.lora import LowRank
from rayci.interventions.editing.lora_adapters import attention_targets, orthogonality
from rayci.model.encoding import IGNORED, Batch, encode_targets
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import ARCHITECTURES, LAYERS, differing, testbed, tiny, weights

CONTEXT = Context(collection(), batch_size=6)
QUICK: dict[str, Any] = {"steps": 6, "lr": 2e-3}
SCHEDULE: dict[str, Any] = {"tinit": 1, "tfinal": 2}


def low_rank(**settings: Any) -> LowRank:
    adapts = settings.get("variant") != "lora" and settings.get("init_r", 12) > settings.get("target_r", 8)
    return LowRank.configure(settings={**QUICK, **(SCHEDULE if adapts else {}), **settings})


def targets(subject: Subject) -> set[str]:
    return {f"{name}.weight" for name in attention_targets(subject)}


def edit_batch(subject: Subject) -> Batch:
    return encode_targets(subject.tokenizer, [(edit.prompt, edit.target_new) for edit in CONTEXT.edits])


def by_hand(subject: Subject, steps: int, lr: float, rank: int, alpha: float) -> dict[str, Tensor]:
    """Trained weights W + (α/r)·B·A without peft: the adapters are factors of a substituted weight."""
    generator = CONTEXT.generator("lora adapters")
    frozen = weights(subject)
    names = [f"{name}.weight" for name in attention_targets(subject)]
    ins, outs = [], []
    for name in names:
        rows, columns = frozen[name].shape
        ins.append(((torch.rand(rank, columns, generator=generator) * 2 - 1) / math.sqrt(columns)).requires_grad_())
        outs.append(torch.zeros(rows, rank, requires_grad=True))
    optimizer = torch.optim.Adam([*ins, *outs], lr=lr)
    batch = edit_batch(subject)

    def merged() -> dict[str, Tensor]:
        return {n: frozen[n] + alpha / rank * (b @ a) for n, a, b in zip(names, ins, outs, strict=True)}

    for _ in range(steps):
        optimizer.zero_grad()
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        logits = functional_call(subject.model, {**frozen, **merged()}, kwargs=inputs).logits[:, :-1]
        loss = F.cross_entropy(logits.flatten(0, 1), batch.labels[:, 1:].flatten(), ignore_index=IGNORED)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {name: value.detach() for name, value in merged().items()}


def test_plain_lora_is_the_product_of_two_factors_trained_by_adam() -> None:
    subject, before = testbed(), weights(testbed())
    expected = by_hand(testbed(), steps=3, lr=2e-3, rank=4, alpha=32.0)
    subject.apply(low_rank(variant="lora", target_r=4, steps=3), CONTEXT)
    assert set(expected) == targets(subject)
    for name, value in expected.items():
        moved = value - before[name]
        assert moved.abs().max() > 1e-3
        assert (weights(subject)[name] - value).norm() < 1e-3 * moved.norm()


@pytest.mark.parametrize("rank", [1, 4])
def test_the_rank_of_a_merged_plain_update(rank: int) -> None:
    subject, before = testbed(), weights(testbed())
    receipt = subject.apply(low_rank(variant="lora", target_r=rank), CONTEXT)
    for name in targets(subject):
        assert int(torch.linalg.matrix_rank((weights(subject)[name] - before[name]).double(), rtol=1e-4)) == rank
    assert receipt.counts["rank"] == rank


def test_ranks_of_merged_adaptive_updates_meet_the_budget() -> None:
    subject, before = testbed(), weights(testbed())
    receipt = subject.apply(low_rank(init_r=6, target_r=3, steps=12), CONTEXT)
    changes = [weights(subject)[name] - before[name] for name in sorted(targets(subject))]
    ranks = [int(torch.linalg.matrix_rank(change.double(), rtol=1e-4)) for change in changes]
    assert max(ranks) <= 6
    assert sum(ranks) / len(ranks) == receipt.counts["rank"] == 3
    assert len(set(ranks)) > 1, "importance was not compared across adapters"


def test_without_adaptation_ranks_stay_where_they_began() -> None:
    receipt = testbed().apply(low_rank(init_r=5, target_r=5), CONTEXT)
    assert receipt.counts["rank"] == 5


def test_adaptive_updates_differ_from_unadapted_ones() -> None:
    cut, uncut = testbed(), testbed()
    cut.apply(low_rank(init_r=8, target_r=2), CONTEXT)
    uncut.apply(low_rank(init_r=8, target_r=8), CONTEXT)
    assert differing(cut, weights(uncut)) == targets(cut)


def test_the_orthogonality_term_by_hand() -> None:
    subject = tiny()
    with adapted(subject, LowRank()._config(attention_targets(subject), False), torch.Generator()) as tuner:
        rows, columns = parts(tuner, "lora_A"), parts(tuner, "lora_B")
        with torch.no_grad():
            for value in rows:
                value.zero_()
                value[0, 0] = 2.0  # AAᵀ − I = diag(3, −1, −1, …)
            for value in columns:
                value.zero_()  # BᵀB − I = −I
        expected = (math.sqrt(9 + 11) + math.sqrt(12)) / 2
        assert orthogonality(tuner).item() == pytest.approx(expected)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("variant", ["lora", "adalora"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_only_the_attention_inputs_change_on_every_architecture(kind: str, variant: str, tied: bool) -> None:
    subject = tiny(kind, tied=tied)
    before, modules = weights(subject), {name: type(module) for name, module in subject.model.named_modules()}
    receipt = subject.apply(low_rank(variant=variant), CONTEXT)
    per_block = {"phi3": 1, "gpt_neox": 1, "gpt2": 1}.get(kind, 2)
    assert len(receipt.changed) == LAYERS * per_block
    assert set(receipt.changed) == differing(subject, before) == targets(subject)
    assert not any("k_proj" in name for name in receipt.changed)
    assert {name: type(module) for name, module in subject.model.named_modules()} == modules
    assert not hasattr(subject.model, "peft_config")


def test_the_merged_model_says_what_the_adapted_one_said(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, seen = tiny("gpt2"), []
    batch = edit_batch(subject)
    original = LowRank._train

    def train(self: LowRank, adapted: Subject, *rest: Any) -> float:
        loss = original(self, adapted, *rest)
        with torch.no_grad():
            seen.append(adapted.model(batch.input_ids, attention_mask=batch.attention_mask).logits)
        return loss

    monkeypatch.setattr(LowRank, "_train", train)
    subject.apply(low_rank(lr=2e-2), CONTEXT)
    with torch.no_grad():
        merged = subject.model(batch.input_ids, attention_mask=batch.attention_mask).logits
        untouched = tiny("gpt2").model(batch.input_ids, attention_mask=batch.attention_mask).logits
    real = batch.attention_mask.bool()
    torch.testing.assert_close(merged[real], seen[0][real], rtol=1e-4, atol=1e-4)
    assert (merged - untouched)[real].abs().max() > 0.1


def test_a_failure_takes_the_adapters_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Tensor:
        raise InterventionError("out of luck")

    monkeypatch.setattr(lora, "predict", fail)
    subject = tiny()
    before = weights(subject)
    with pytest.raises(InterventionError, match="out of luck"):
        subject.apply(low_rank(), CONTEXT)
    assert differing(subject, before) == set()
    assert weights(subject).keys() == before.keys()
    assert not hasattr(subject.model, "peft_config")


def test_bfloat16_storage_leaves_weights_that_bfloat16_holds() -> None:
    subject = testbed()
    subject.apply(low_rank(storage="bfloat16"), CONTEXT)
    for name in targets(subject):
        assert weights(subject)[name].equal(weights(subject)[name].bfloat16().float())


@pytest.mark.parametrize("variant", ["lora", "adalora"])
def test_half_precision_models_get_adapters_of_single_precision(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = tiny(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    subject.model.bfloat16()
    trained: set[torch.dtype] = set()
    original = torch.optim.Adam.step

    def step(self: torch.optim.Adam, *rest: Any) -> Any:
        trained.update(value.dtype for group in self.param_groups for value in group["params"])
        return original(self, *rest)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    before = {name: value.clone() for name, value in subject.model.named_parameters()}
    receipt = subject.apply(low_rank(variant=variant, steps=5), replace(CONTEXT, batch_size=2))
    assert trained == {torch.float32}
    assert {value.dtype for value in subject.model.parameters()} == {torch.bfloat16}
    assert all(not value.equal(before[name]) for name, value in subject.parameters_of(receipt.changed).items())


def test_seeds_give_other_adapters() -> None:
    first, second = testbed(), testbed()
    first.apply(low_rank(), CONTEXT)
    second.apply(low_rank(), replace(CONTEXT, seed=1))
    assert differing(first, weights(second)) == targets(first)


def test_retain_text_that_states_an_edited_fact_is_left_out() -> None:
    subject, edit = testbed(), CONTEXT.edits[0]
    stated = Document(f"{edit.subject} and {edit.ground_truth}")
    only = replace(CONTEXT, data=replace(collection(), retain=(stated,)))
    before = weights(subject)
    with pytest.raises(DataError, match="retain"):
        subject.apply(low_rank(retain_weight=1.0), only)
    assert differing(subject, before) == set()
    more = replace(CONTEXT, data=replace(collection(), retain=(stated, collection().retain[0])))
    left = replace(CONTEXT, data=replace(collection(), retain=collection().retain[:1]))
    twin = copy.deepcopy(subject)
    subject.apply(low_rank(retain_weight=1.0), more)
    twin.apply(low_rank(retain_weight=1.0), left)
    assert differing(subject, weights(twin)) == set()


def test_retain_text_is_needed_only_where_it_is_used() -> None:
    assert LowRank.needs == LowRank().needs == {"edits"}
    assert LowRank(retain_weight=1.0).needs == {"edits", "retain"}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"init_r": 4, "target_r": 8}, "below target_r"),
        ({"tinit": 3, "tfinal": 2}, "leaves no step"),
        ({"variant": "dora"}, "variant"),
        ({"target_r": 0}, "target_r"),
        ({"rank": 8}, "no setting 'rank'"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError, match=text):
        low_rank(**settings)


@pytest.mark.parametrize(
    ("edits", "settings"),
    [(10, {"steps": 30, "tfinal": 10, "retain_batch": 8}), pytest.param(50, {}, marks=pytest.mark.slow)],
    ids=["less of it", "whole"],
)
def test_the_testbed_preset_edits_and_keeps_utility(edits: int, settings: dict[str, Any]) -> None:
    subject, context = testbed(), Context(collection(), batch_size=edits)
    assert EditSuccess().measure(subject, context).value == 0
    subject.apply(LowRank.configure("testbed", settings=settings), context)
    assert EditSuccess().measure(subject, context).value >= 0.95
    assert Utility().measure(subject, context).value >= 0.93
