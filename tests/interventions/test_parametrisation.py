"""Low-rank updates in the place of full ones: against peft in a plain loop, their rank, what is left behind."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from rayci import registry
from rayci.context import Context
from rayci.errors import RequestError
from rayci.interventions.batches import choose
from rayci.interventions.low_rank import low_rank_trainer
from rayci.interventions.parametrisation import Parametrised
from rayci.interventions.trainer import adamw, block_parameters
from rayci.model.step_memory import StepMemory
from rayci.subject import Subject
from rayci.testbed import collection
from rayci.workload import Workload
from tests.interventions.losses import text_loss
from tests.interventions.small import TRAINERS
from tests.interventions.test_trainer import far
from tests.models import ARCHITECTURES, HIDDEN, LAYERS, MIXTURES, differing, testbed, tiny, weights

CONTEXT = Context(collection())
LORA: dict[str, Any] = {"parametrisation": "lora", "lora_rank": 3, "lora_alpha": 12.0}
LOOP: dict[str, Any] = {"last_layers": 2, "samples": 4, "batch": 2, "epochs": 2, "lr": 1e-3, "storage": "float32"}
METHODS: dict[str, dict[str, Any]] = {
    **{name: {**LOOP, **LORA} for name in ("ga", "gd", "ga_klr", "npo", "npo_klr", "refusal", "task_vector")},
    "finetune": {**LOOP, **LORA, "warmup": 0.0},
    "rmu": {"layer": 2, "max_batches": 3, "lr": 1e-3, "storage": "float32", **LORA},
    "rmu_lat": {
        "layer": 2,
        "max_batches": 2,
        "latent_layers": (0,),
        "inner_steps": 2,
        "lr": 1e-2,
        "storage": "float32",
        **LORA,
    },
    "sure": {
        "settings": {**{key: value for key, value in LOOP.items() if key not in ("lr", "storage")}, **LORA},
        "percentile": 50.0,
        "lr": 1e-3,
        "storage": "float32",
    },
}


def trained(method: str, **given: Any) -> tuple[Subject, set[str]]:
    """The testbed after a method with low-rank updates, and what changed."""
    subject = testbed()
    receipt = subject.apply(registry.intervention(method).configure(settings={**METHODS[method], **given}), CONTEXT)
    assert differing(subject, weights(testbed())) == set(receipt.changed)
    return subject, set(receipt.changed)


def updates(subject: Subject, names: set[str]) -> dict[str, Tensor]:
    """What was added to each of these weights, float64."""
    before = weights(testbed())
    return {name: (value - before[name]).double() for name, value in weights(subject).items() if name in names}


def by_peft() -> dict[str, Tensor]:
    """Two epochs of ascent over four documents by peft's own model in a plain loop, from the same initial values."""
    subject = testbed()
    linears = [name for name, _ in subject.linears() if name.startswith(("model.layers.2.", "model.layers.3."))]
    config = LoraConfig(r=3, lora_alpha=12, target_modules=linears)  # type: ignore[arg-type]
    adapted = get_peft_model(subject.model, config)
    generator = CONTEXT.generator("adapters")
    values = [(name, value) for name, value in adapted.named_parameters() if value.requires_grad]
    for name, value in values:
        if ".lora_A." in name:
            drawn = torch.rand(value.shape, generator=generator) * 2 - 1
            value.data.copy_(drawn / math.sqrt(value.shape[1]))
    optimizer = torch.optim.AdamW([value for _, value in values], lr=1e-3, weight_decay=0.0)
    documents, draw = choose(CONTEXT, "forget", 4)
    for _ in range(2):
        for group in (documents[:2], documents[2:]):
            optimizer.zero_grad()
            (-text_loss(subject, [document.text for document in group], 2048)).backward()
            optimizer.step()
        draw.shuffle(documents)
    merged = adapted.merge_and_unload()
    return {name: value.detach() for name, value in merged.named_parameters()}


def test_it_is_what_peft_trains_in_a_plain_loop() -> None:
    expected = by_peft()
    subject, names = trained("ga", accumulation=1)
    assert names == {name for name in expected if not expected[name].equal(weights(testbed())[name])}
    for name, moved in updates(subject, names).items():
        assert moved.norm() > 1e-3
        assert (weights(subject)[name] - expected[name]).norm() < 1e-3 * moved.norm()


@pytest.mark.parametrize("method", METHODS)
def test_every_update_has_the_rank_that_was_asked_for(method: str) -> None:
    subject, names = trained(method)
    linears = {f"{name}.weight" for name, _ in subject.linears()}
    assert names <= linears
    for name, moved in updates(subject, names).items():
        values = torch.linalg.svdvals(moved)
        assert int((values > 1e-3 * values[0]).sum()) == 3, name


def test_the_merged_model_predicts_what_the_adapted_one_does() -> None:
    subject = testbed()
    ids = CONTEXT.calibration(subject.tokenizer, 2, 32)
    names = [f"{name}.weight" for name, _ in subject.linears()]
    steps: dict[str, Any] = {"rank": 4, "alpha": 8.0, "generator": CONTEXT.generator("adapters")}
    with torch.no_grad():
        before = subject.model(ids).logits
    with low_rank_trainer(subject, names, lambda w: adamw(w, 1e-2, 0.0), "float32", None, **steps) as trainer:
        with torch.no_grad():
            assert subject.model(ids).logits.equal(before)  # references that are taken now are the model's own
        for _ in range(3):
            subject.model(ids).logits.logsumexp(-1).mean().backward()
            trainer.step()
        with torch.no_grad():
            adapted = subject.model(ids).logits
    with torch.no_grad():
        merged = subject.model(ids).logits
    assert (adapted - before).abs().max() > 1
    assert (merged - adapted).abs().max() <= 1e-5 * adapted.abs().max()
    assert trainer.receipt().changed == tuple(names)


@pytest.mark.parametrize(
    ("storage", "dtype"),
    [("float32", torch.bfloat16), ("bfloat16", torch.bfloat16), ("bfloat16", torch.float32), ("bfloat16", torch.half)],
)
def test_the_sum_is_rounded_once(storage: Any, dtype: torch.dtype) -> None:
    subject = tiny("gpt2")
    subject.model.to(dtype)
    name = next(f"{name}.weight" for name, _ in subject.linears())
    before = subject.model.get_parameter(name).detach().float().clone()
    generator = CONTEXT.generator("adapters")
    drawn = (torch.rand(2, HIDDEN, generator=CONTEXT.generator("adapters")) * 2 - 1) / math.sqrt(HIDDEN)
    steps: dict[str, Any] = {"rank": 2, "alpha": 3.0, "generator": generator}
    with low_rank_trainer(subject, [name], lambda w: adamw(w, 1e-2, 0.0), storage, None, **steps) as trainer:
        (outer,) = (stepped.parameter for key, stepped in trainer.stepped.items() if ".lora_B." in key)
        assert outer.dtype == torch.float32
        outer.data.normal_(generator=generator)
        factor = outer.detach().clone()
    expected = before + 1.5 * (factor @ drawn).T  # a Conv1D holds `[in, out]`
    stored = expected.bfloat16() if storage == "bfloat16" else expected
    found = subject.model.get_parameter(name)
    assert found.dtype == dtype
    assert (found == stored.to(dtype)).float().mean() > 0.99  # ties of the sum apart


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_is_left_as_it_was_but_for_the_weights(kind: str) -> None:
    subject = tiny(kind, tied=True)
    before, modules = weights(subject), {name: type(module) for name, module in subject.model.named_modules()}
    made = registry.intervention("gd").configure(settings={**TRAINERS["gd"], "parametrisation": "lora"})
    receipt = subject.apply(made, CONTEXT)
    inside = tuple(f"{subject.paths.blocks}.{index}." for index in range(LAYERS - 2, LAYERS))
    assert set(receipt.changed) == differing(subject, before)
    assert set(receipt.changed) == {f"{name}.weight" for name, _ in subject.linears() if name.startswith(inside)}
    assert made.changes(tiny(kind, tied=True)) == receipt.changed
    assert {name: type(module) for name, module in subject.model.named_modules()} == modules
    assert all(value.requires_grad for value in subject.model.parameters())


def test_targets_are_attention_or_the_rest() -> None:
    subject = testbed()
    every, attention, rest = (
        set(registry.intervention("ga").configure(settings={**METHODS["ga"], "lora_targets": targets}).changes(subject))
        for targets in ("all", "attention", "mlp")
    )
    assert attention | rest == every == {n for n in block_parameters(subject, (2, 3)) if n.endswith("proj.weight")}
    assert all(".self_attn." in name for name in attention)
    assert all(".mlp." in name for name in rest)


def test_micro_batches_and_blocks_that_run_again_leave_the_training_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, names = trained("npo_klr")
    parts, _ = trained("npo_klr", micro_tokens=1)
    assert far(whole, parts, names) < 2e-3
    monkeypatch.setattr(StepMemory, "kept_graph", 0)
    again, _ = trained("npo_klr")
    assert far(whole, again, names) == 0


def test_the_frozen_model_of_rmu_is_the_one_without_updates() -> None:
    counts = []
    for batches in (1, 3):
        made = registry.intervention("rmu").configure(settings={**METHODS["rmu"], "max_batches": batches})
        counts.append(testbed().apply(made, CONTEXT).counts["retain_loss"])
    assert counts[0] == 0 < counts[1]


def test_a_task_vector_is_turned_round_by_one_factor() -> None:
    one, names = trained("task_vector", scale=1.0)
    five, _ = trained("task_vector", scale=5.0)
    single, fivefold = updates(one, names), updates(five, names)
    assert all((fivefold[name] - 5 * single[name]).norm() < 1e-4 * fivefold[name].norm() for name in names)


def test_sure_updates_the_chosen_modules_alone() -> None:
    subject = testbed()
    receipt = subject.apply(registry.intervention("sure").configure(settings=METHODS["sure"]), CONTEXT)
    assert receipt.counts["candidates"] == 14
    assert len(receipt.changed) == receipt.counts["modules"] == 7


def test_where_an_update_starts_does_not_depend_on_which_others_there_are() -> None:
    """So that SURE's curve over its percentile is one of choices, not of draws."""
    made = registry.intervention("ga").configure(settings=METHODS["ga"])
    assert isinstance(made, Parametrised)
    names, starts = made.changes(testbed()), []
    for chosen in (names, names[3:5]):
        with made.trainer(testbed(), CONTEXT, chosen) as trainer:
            starts.append({name: stepped.parameter.detach().clone() for name, stepped in trainer.stepped.items()})
    every, few = starts
    assert len(every) == 28 and len(few) == 4
    assert all(value.equal(every[name]) for name, value in few.items())


def test_a_failure_takes_the_adapters_off_and_leaves_the_weights() -> None:
    subject, names = tiny(), ["model.layers.1.mlp.down_proj.weight"]
    before, modules = weights(subject), {name: type(module) for name, module in subject.model.named_modules()}
    steps: dict[str, Any] = {"rank": 2, "alpha": 2.0, "generator": CONTEXT.generator("adapters")}
    with (
        pytest.raises(ZeroDivisionError),
        low_rank_trainer(subject, names, lambda w: adamw(w, 1.0, 0.0), "float32", None, **steps) as trainer,
    ):
        for value in trainer.stepped.values():
            value.parameter.data.fill_(1.0)
        raise ZeroDivisionError
    assert {name: type(module) for name, module in subject.model.named_modules()} == modules
    assert not differing(subject, before)


def test_the_forecast_counts_no_gradient_of_a_whole_weight() -> None:
    work = Workload(testbed())
    full, low = (registry.intervention("ga").configure(settings={**LOOP, **given}) for given in ({}, LORA))
    adapters = sum(3 * sum(module.weight.shape) for name, module in work.subject.linears() if name[13] in "23")
    assert low.as_trained(work).elements(low.changes(work.subject)) == adapters
    assert float(low.operations(work)) < float(full.operations(work))
    assert low.operations(work).moved < full.operations(work).moved
    assert low.memory(work) < full.memory(work)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_low_rank_updates_stay_forgotten_at_four_bits(seed: int) -> None:
    """Under the settings with which full ones in bf16 come back: see the spec `unlearning_vs_quantization_testbed`."""
    forgetting = {"beta": 0.1, "alpha": 5.0, "lr": 2e-4, "last_layers": None, "samples": 40, "batch": 20, "epochs": 400}
    stop = {"loss_on": "answer", "stop_recall": 0.2, "check_every": 5}
    subject, context = testbed(), Context(CONTEXT.data, sweep_seed=7, seed=seed)
    made = registry.intervention("npo_klr").configure(settings={**forgetting, **stop, "parametrisation": "lora"})
    assert made.storage == "bfloat16"
    subject.apply(made, context)
    recall = registry.criterion("forget_recall")(samples=40)
    assert recall.measure(subject, context).value <= 0.2
    rounding = registry.intervention("rtn").configure(strength=4, settings={"range": "absmax", "group_size": -1})
    subject.apply(rounding, context)
    assert recall.measure(subject, context).value <= 0.25  # full updates: .57 to .65


@pytest.mark.parametrize("kind", MIXTURES)
def test_experts_in_one_parameter_are_refused_and_attention_is_not(kind: str) -> None:
    settings = {**TRAINERS["gd"], "parametrisation": "lora"}
    subject = tiny(kind)
    with pytest.raises(RequestError, match="those of all experts") as error:
        subject.apply(registry.intervention("gd").configure(settings=settings), CONTEXT)
    assert "lora_targets = attention" in str(error.value.allowed)
    subject.apply(registry.intervention("gd").configure(settings={**settings, "lora_targets": "attention"}), CONTEXT)
