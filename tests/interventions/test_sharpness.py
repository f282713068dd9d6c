"""Sharpness-aware steps of NPO: against a loop in float64, and that weights come back bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rayci import registry
from rayci.context import Context
from rayci.interventions.trainer import Trainer, adamw
from rayci.interventions.unlearning.npo import NegativePreference, NegativePreferenceDescent, NegativePreferenceKL
from rayci.model.step_memory import Storage
from rayci.subject import Subject
from rayci.workload import Workload
from tests.interventions.losses import text_loss
from tests.interventions.test_npo import CONTEXT, LR, SMALL, TOKENS, forget_loss, texts
from tests.interventions.test_trainer import BLOCK, far
from tests.interventions.test_unlearning import assert_close
from tests.models import differing, testbed, tiny, weights

SHARP: dict[str, Any] = {**SMALL, "alpha": 3.0, "accumulation": 2, "sam_radius": 0.5}


def trained(**given: Any) -> Subject:
    subject = testbed()
    receipt = subject.apply(NegativePreferenceDescent(**{**SHARP, **given}), CONTEXT)
    assert receipt.counts["steps"] == 2
    return subject


def in_float64(radius: float) -> Subject:
    """Two batches a step, one text at a time: the forget gradient is taken `radius` up the forget gradient."""
    subject, reference = testbed(), testbed()
    for each in (subject, reference):
        each.model.double()
    values = [p for index in (2, 3) for p in subject.block(index).parameters()]
    optimizer = torch.optim.AdamW(values, lr=LR, weight_decay=0.0)
    forget, retain = texts("forget"), texts("retain")

    def gradient(losses: list[Tensor]) -> list[Tensor]:
        return list(torch.autograd.grad(torch.stack(losses).mean(), values))

    def ascent(starts: tuple[int, ...]) -> list[Tensor]:
        groups = [forget[start : start + 2] for start in starts]
        return gradient([forget_loss(NegativePreferenceDescent, subject, reference, group) for group in groups])

    for starts in ((0, 2), (4,)):
        held, up = [value.detach().clone() for value in values], ascent(starts)
        norm = torch.cat([value.flatten() for value in up]).norm()
        with torch.no_grad():
            for value, step in zip(values, up, strict=True):
                value.add_(radius * step / norm)
        there = ascent(starts)
        with torch.no_grad():
            for value, before in zip(values, held, strict=True):
                value.copy_(before)
        here = gradient([3.0 * text_loss(subject, retain[start : start + 2], TOKENS) for start in starts])
        for value, one, other in zip(values, there, here, strict=True):
            value.grad = one + other
        torch.nn.utils.clip_grad_norm_(values, 1.0)
        optimizer.step()
    return subject


def test_a_training_equals_a_loop_in_float64() -> None:
    subject = trained()
    assert_close(subject, in_float64(0.5), testbed())
    with pytest.raises(AssertionError):
        assert_close(subject, in_float64(0.0), testbed())


def test_micro_batches_give_the_same_steps() -> None:
    whole, names = trained(), differing(trained(), weights(testbed()))
    assert far(whole, trained(micro_tokens=1), names) < 2e-3


def test_no_radius_is_no_setting() -> None:
    plain = NegativePreferenceDescent(**{**SMALL, "alpha": 3.0})
    assert plain == NegativePreferenceDescent(**{**SMALL, "alpha": 3.0, "sam_radius": 0.0})
    assert "sam_radius" not in plain.effective()
    assert "sam_shift" not in testbed().apply(plain, CONTEXT).counts


@pytest.mark.parametrize("parametrisation", ["full", "lora"])
def test_the_receipt_tells_how_far_ahead_the_gradient_was(parametrisation: Any) -> None:
    made = NegativePreference(**{**SMALL, "sam_radius": 0.25, "parametrisation": parametrisation})
    assert testbed().apply(made, CONTEXT).counts["sam_shift"] == pytest.approx(0.25, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_relearning_brings_less_back(seed: int) -> None:
    """Recall after two passes over the forget text: .93 .87 .85 without, .78 .73 .74 with a radius."""
    recalls, context = [], Context(CONTEXT.data, seed=seed)
    for given in ({}, {"sam_radius": 0.15}):
        subject = testbed()
        subject.apply(NegativePreferenceKL.configure("testbed", None, given), context)
        subject.apply(registry.intervention("relearn").configure("testbed", 2), context)
        recalls.append(registry.criterion("forget_recall")().measure(subject, context).value)
    assert recalls[1] < recalls[0] - 0.05


def shifted(dtype: torch.dtype, storage: Storage, *, on_host: bool = False) -> float:
    """How far a weight goes along a gradient of ones under a radius of .01, after steps that leave masters uneven."""
    subject, generator = tiny(), torch.Generator().manual_seed(5)
    subject.model.to(dtype)
    with Trainer(subject, [BLOCK], lambda w: adamw(w, 1e-3, 0.1), storage, on_host=on_host) as trainer:
        weight = subject.model.get_parameter(BLOCK)
        for _ in range(3):
            (weight * torch.randn(weight.shape, generator=generator)).sum().backward()
            trainer.step()
        weight.sum().backward()
        before = weight.detach().clone()
        with pytest.raises(ZeroDivisionError), trainer.ahead(0.01) as norm:
            moved = weight.detach().float() - before.float()
            assert norm == pytest.approx(float(moved.norm()), rel=1e-2)
            raise ZeroDivisionError
        assert weight.detach().equal(before)
        trainer.step()
        assert weight.detach().equal(before)  # the shift has used the gradients up
    return float(moved.sum() / moved.numel() ** 0.5)


@pytest.mark.parametrize("on_host", [False, True])
def test_the_shift_is_the_radius_where_the_dtype_holds_it_and_is_taken_back(on_host: bool) -> None:
    assert shifted(torch.float32, "bfloat16", on_host=on_host) == pytest.approx(0.01, rel=1e-3)
    assert shifted(torch.bfloat16, "float32", on_host=on_host) == pytest.approx(0.01, rel=0.2)  # from the masters
    assert shifted(torch.bfloat16, "bfloat16", on_host=on_host) < 0.007


def test_a_gradient_of_zero_shifts_nothing() -> None:
    subject = tiny()
    with Trainer(subject, [BLOCK], lambda w: adamw(w, 1e-3, 0.0)) as trainer:
        (0 * subject.model.get_parameter(BLOCK)).sum().backward()
        with trainer.ahead(100.0) as norm:
            assert norm == 0


def test_the_forecast_counts_the_second_pass_and_the_copies() -> None:
    subject = tiny()
    work = Workload(subject)
    plain, sharp = (NegativePreferenceDescent(**{**SMALL, "sam_radius": radius}) for radius in (0.0, 0.1))
    names = work.changed_by(plain)
    assert sharp.memory(work) - plain.memory(work) == 4 * work.elements(names)
    assert 1.25 < float(sharp.operations(work)) / float(plain.operations(work)) < 1.5  # of forget and retain batches
    crowded = Workload(subject, device_memory=1e3)  # masters and moments wait on the host, and so do the copies
    assert sharp.host_memory(crowded) - plain.host_memory(crowded) == 4 * work.elements(names)
    assert sharp.memory(crowded) == plain.memory(crowded)
