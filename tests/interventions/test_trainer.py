"""One step's memory and arithmetic: what is summed, what is held twice, and what waits on the host."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rayci import registry
from rayci.conformance.emulated_device import FIRST, emulated_devices
from rayci.context import Context
from rayci.interventions import trainer as trainers
from rayci.interventions.gradients import Gradients
from rayci.interventions.predictions import predict
from rayci.interventions.trainer import Trainer, adamw
from rayci.model import likelihood
from rayci.model.step_memory import StepMemory, Storage
from rayci.subject import Subject
from rayci.testbed import collection
from tests.interventions.losses import batch_loss
from tests.interventions.test_lora import edit_batch
from tests.models import testbed, tiny, weights

CONTEXT = Context(collection(), batch_size=8)
LOOP: dict[str, Any] = {"last_layers": 2, "samples": 6, "batch": 3, "epochs": 1, "lr": 1e-3, "storage": "float32"}
METHODS: dict[str, dict[str, Any]] = {
    "ft": {"layers": (1, 2), "lr": 1e-3, "steps": 2, "storage": "float32"},
    "lora": {"variant": "lora", "steps": 2, "lr": 1e-3, "retain_weight": 1.0, "retain_batch": 4},
    "gd": LOOP,
    "finetune": LOOP,
    "npo_klr": LOOP,
    "rmu": {"layer": 2, "max_batches": 2, "lr": 1e-3, "storage": "float32"},
    "rmu_lat": {"layer": 2, "max_batches": 2, "latent_layers": (0,), "inner_steps": 2, "storage": "float32"},
    "sure": {"method": "gd", "settings": {k: v for k, v in LOOP.items() if k not in ("lr", "storage")}, "lr": 1e-3},
}
BLOCK = "model.layers.1.mlp.down_proj.weight"


def trained(method: str, **given: Any) -> tuple[Subject, set[str]]:
    subject = testbed()
    receipt = subject.apply(registry.intervention(method).configure(settings={**METHODS[method], **given}), CONTEXT)
    return subject, set(receipt.changed)


def far(one: Subject, other: Subject, names: set[str]) -> float:
    """The gap between two trainings, relative to how far the weights moved."""
    base, left, right = weights(testbed()), weights(one), weights(other)
    gap = torch.cat([(left[name] - right[name]).flatten() for name in names]).norm()
    return float(gap / torch.cat([(left[name] - base[name]).flatten() for name in names]).norm())


@pytest.mark.parametrize("method", METHODS)
def test_micro_batches_give_the_gradient_of_the_batch(method: str) -> None:
    whole, names = trained(method)
    parts, others = trained(method, micro_tokens=1)  # one item at a time
    assert names == others
    assert far(whole, parts, names) < 2e-3


@pytest.mark.parametrize(
    ("method", "settings", "rounding"),
    [
        ("rmu", {"max_batches": 12}, 1e-5),
        pytest.param("rmu", {}, 1e-5, marks=pytest.mark.slow),
        pytest.param("npo_klr", {}, 1e-2, marks=pytest.mark.slow),
    ],
    ids=["rmu, less of it", "rmu", "npo_klr"],
)
def test_micro_batches_leave_the_testbeds_table(method: str, settings: dict[str, Any], rounding: float) -> None:
    """Counts are the same; sums of gradients in another order move the other values by little."""
    counts, others = ("hazard", "utility", "forget_recall", "retain_recall"), ("perplexity", "kl_to_base")
    tables = []
    for given in (settings, {**settings, "micro_tokens": 1}):
        subject = testbed()
        subject.remember_base()
        subject.apply(registry.intervention(method).configure("testbed", None, given), CONTEXT)
        tables.append({name: registry.criterion(name)().measure(subject, CONTEXT).value for name in (*counts, *others)})
    whole, parts = tables
    assert [whole[name] for name in counts] == [parts[name] for name in counts]
    assert [parts[name] for name in others] == pytest.approx([whole[name] for name in others], rel=rounding)


@pytest.mark.parametrize("method", METHODS)
def test_blocks_that_run_again_leave_every_bit(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, names = trained(method)
    monkeypatch.setattr(StepMemory, "kept_graph", 0)
    again, _ = trained(method)
    assert far(kept, again, names) == 0


@pytest.mark.parametrize("method", ["gd", "npo_klr", "lora"])
def test_chunks_of_the_vocabulary_leave_the_training_as_it_is(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, names = trained(method)
    monkeypatch.setattr(likelihood, "LOGIT_BYTES", 9 * 1152 * 4)
    chunks, _ = trained(method)
    assert far(whole, chunks, names) < 2e-3


def stepped(storage: Storage, dtype: torch.dtype, *, on_host: bool = False) -> tuple[Trainer, Tensor]:
    """A trainer after two steps along gradients that are all ones and twos, and the weight."""
    subject = tiny()
    subject.model.to(dtype)
    with Trainer(subject, [BLOCK], lambda w: adamw(w, 1e-3, 0.1), storage, clip_norm=5.0, on_host=on_host) as trainer:
        weight = subject.model.get_parameter(BLOCK)
        for scale in (1.0, 2.0):
            (weight * scale).sum().backward()
            trainer.step()
    return trainer, weight.detach()


@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_waits_on_the_host_gives_the_same_bits(storage: Storage, dtype: torch.dtype) -> None:
    assert stepped(storage, dtype)[1].equal(stepped(storage, dtype, on_host=True)[1])


def test_masters_exist_only_where_weights_hold_less_than_is_stored() -> None:
    for storage, dtype, own in (
        ("float32", torch.float32, False),
        ("bfloat16", torch.float32, False),
        ("bfloat16", torch.bfloat16, False),
        ("float32", torch.bfloat16, True),
        ("bfloat16", torch.float16, True),
    ):
        trainer, weight = stepped(storage, dtype)  # type: ignore[arg-type]
        assert (trainer.stepped[BLOCK]._master.data_ptr() != weight.data_ptr()) is own


def test_between_steps_masters_and_moments_lie_where_they_are_told_to() -> None:
    with emulated_devices():
        subject = tiny()
        subject.model.to(FIRST)  # type: ignore[arg-type]
        for on_host, place in ((False, FIRST), (True, torch.device("cpu"))):
            trainer = Trainer(subject, [BLOCK], lambda w: adamw(w, 1e-3, 0.0), on_host=on_host)
            subject.model.get_parameter(BLOCK).sum().backward()
            trainer.step()
            assert {value.device for value in trainer.stepped[BLOCK].state.values()} == {place}
            assert len(trainer.stepped[BLOCK].state) == 2


def test_gradients_of_half_precision_weights_are_summed_in_single() -> None:
    subject = tiny()
    subject.model.to(torch.bfloat16)
    weight = subject.model.get_parameter(BLOCK)
    with Gradients({BLOCK: weight}) as gradients:
        for scale in (256.0, 0.5, 0.5, 0.5):  # in bf16 the later ones are lost
            (weight * scale).sum().backward()
            assert weight.grad is None
        (found,) = gradients.take().values()
        assert found.dtype == torch.float32
        assert bool((found == 257.5).all())
        assert gradients.take() == {}
    weight.sum().backward()
    assert weight.grad is not None  # nothing takes it any more


def test_a_failure_leaves_no_hook_on_the_weights() -> None:
    subject = tiny()
    subject.model.to(torch.bfloat16)
    weight = subject.model.get_parameter(BLOCK)
    with pytest.raises(ZeroDivisionError), Trainer(subject, [BLOCK], lambda w: adamw(w, 1e-3, 0.0)):
        raise ZeroDivisionError
    assert not weight._post_accumulate_grad_hooks


def test_parameters_that_no_loss_reaches_stay_bit_for_bit() -> None:
    subject = tiny()
    before, names = weights(subject), [BLOCK, "lm_head.weight"]
    with Trainer(subject, names, lambda w: adamw(w, 1e-3, 0.5), clip_norm=1.0) as trainer:
        subject.model.get_parameter(BLOCK).sum().backward()
        trainer.step()
    assert subject.model.get_parameter("lm_head.weight").equal(before["lm_head.weight"])
    assert not subject.model.get_parameter(BLOCK).equal(before[BLOCK])


def test_fused_kernels_are_asked_for_on_a_gpu_alone() -> None:
    class OnGpu(Tensor):
        is_cuda = True

    assert trainers.fused([torch.zeros(1)]) is None
    assert trainers.fused([torch.zeros(1).as_subclass(OnGpu)]) is True


def test_predictions_are_those_of_all_logits_at_once() -> None:
    subject = testbed()
    batch = edit_batch(subject)
    with torch.no_grad():
        found = predict(subject, batch)
        mean = -found.log_probs().sum() / batch.labelled.sum()
        torch.testing.assert_close(mean, batch_loss(subject, batch))
        best = subject.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits[:, :-1].argmax(-1)
    hits = (best == batch.labels[:, 1:]) | ~batch.labelled
    assert found.answered().tolist() == hits.all(-1).tolist()
