"""Survival of updates against codes worked out weight by weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rayci.context import Context
from rayci.criteria.update_survival import UpdateSurvival
from rayci.errors import Inapplicable, MeasurementError
from rayci.intervention import Applied, Receipt
from rayci.interventions.compression.awq import AWQ
from rayci.interventions.compression.gptq import GPTQ
from rayci.interventions.compression.quantiser import Quantiser
from rayci.interventions.compression.rtn import RoundToNearest
from rayci.interventions.compression.wanda import Wanda
from rayci.interventions.editing.finetuning import FineTuning
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import testbed, tiny

CONTEXT = Context(collection(), batch_size=6)
SMALL: dict[str, Any] = {"sequences": 4, "length": 32, "group_size": 16}
TRAIN = FineTuning(layers=(1, 2), lr=1e-3, steps=2)
TRAINED = tuple(f"model.layers.{layer}.mlp.down_proj" for layer in (1, 2))


def trained() -> Subject:
    subject = testbed()
    subject.remember_base()
    subject.apply(TRAIN, CONTEXT)
    return subject


def weights_of(subject: Subject) -> dict[str, Tensor]:
    return {name: module.weight.detach().clone() for name, module in subject.linears() if name in TRAINED}


def share(codes: list[tuple[Tensor, Tensor]]) -> float:
    return sum(int((now != then).sum()) for now, then in codes) / sum(now.numel() for now, _ in codes)


@pytest.mark.parametrize("bits", [8, 4])
def test_rounding_to_nearest_by_hand(bits: int) -> None:
    subject = trained()
    now = weights_of(subject)
    expected = []
    for name in TRAINED:
        assert subject.base is not None
        groups, before = (one.view(one.shape[0], -1, 128) for one in (now[name], subject.base[f"{name}.weight"]))
        low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
        scale, steps = (high - low) / (2**bits - 1), 2**bits - 1
        zero = torch.round(-low / scale)
        code = [torch.clamp(torch.round(one / scale) + zero, 0, steps) for one in (groups, before)]
        expected.append((code[0], code[1]))
    subject.apply(RoundToNearest(bits=bits), CONTEXT)
    reading = UpdateSurvival().measure(subject, CONTEXT)
    assert reading.value == pytest.approx(share(expected), rel=1e-6)
    assert 0 < reading.value < 1
    assert reading.n == sum(code.numel() for code, _ in expected)
    assert reading.items is not None and len(reading.items.values) == 2


def test_codes_of_a_number_format_are_its_own() -> None:
    """fp8's are the bytes that torch casts to, over a scale of each row."""
    subject = trained()
    now = weights_of(subject)
    assert subject.base is not None
    expected = []
    for name in TRAINED:
        scale = now[name].abs().amax(1, keepdim=True) / 448
        pair = now[name], subject.base[f"{name}.weight"]
        cast = [(one / scale).clamp(-448, 448).to(torch.float8_e4m3fn).float() for one in pair]
        expected.append((cast[0], cast[1]))
    subject.apply(RoundToNearest(grid="fp8"), CONTEXT)
    assert UpdateSurvival().measure(subject, CONTEXT).value == pytest.approx(share(expected), rel=1e-6)


def test_fewer_bits_bring_more_back() -> None:
    shares = []
    for bits in (8, 4, 2):
        subject = trained()
        subject.apply(RoundToNearest(bits=bits), CONTEXT)
        shares.append(UpdateSurvival().measure(subject, CONTEXT).value)
    assert shares == sorted(shares, reverse=True) and shares[0] > 2 * shares[-1]


@pytest.mark.parametrize("kind", ["llama", "opt", "gpt2"])
@pytest.mark.parametrize("quantiser", [RoundToNearest(bits=4, group_size=16), AWQ(bits=4, **SMALL)], ids=["rtn", "awq"])
def test_a_training_that_moved_nothing_leaves_every_code(kind: str, quantiser: Quantiser) -> None:
    """AWQ's too, whose scales are done to the untouched weights as they were to the others."""
    subject = tiny(kind)
    subject.remember_base()
    subject.applied.append(Applied(TRAIN, Receipt(subject.weight_names())))
    subject.apply(quantiser, CONTEXT)
    reading = UpdateSurvival().measure(subject, CONTEXT)
    assert reading.value == 0
    assert reading.n == sum(module.weight.numel() for _, module in subject.linears())


@pytest.mark.parametrize("act_order", [False, True])
def test_codes_of_gptq_lie_on_its_own_grid(act_order: bool) -> None:
    subject = trained()
    gptq = GPTQ(bits=4, act_order=act_order, **SMALL)
    receipt = subject.apply(gptq, CONTEXT)
    codes = []
    for name, weight in weights_of(subject).items():
        assert subject.base is not None
        grid = gptq.grid_in(receipt.kept, name, weight.device)
        codes.append((grid.codes(weight), grid.codes(subject.base[f"{name}.weight"])))
    assert UpdateSurvival().measure(subject, CONTEXT).value == pytest.approx(share(codes))


def test_putting_awq_back_on_its_grid_scales_once() -> None:
    subject = tiny()
    subject.remember_base()
    awq = AWQ(bits=4, **SMALL)
    subject.apply(awq, CONTEXT)
    subject.applied.append(Applied(TRAIN, Receipt(subject.weight_names())))
    subject.apply(awq, CONTEXT, "reproject")
    assert UpdateSurvival().measure(subject, CONTEXT).value == 0


def test_what_a_pruner_took_is_left_out() -> None:
    subject = trained()
    subject.apply(Wanda(sparsity=0.5, sequences=4, length=32), CONTEXT)
    subject.apply(RoundToNearest(bits=8), CONTEXT)
    left = sum(int((weight != 0).sum()) for weight in weights_of(subject).values())
    assert UpdateSurvival().measure(subject, CONTEXT).n == left


def test_it_applies_to_what_was_trained_and_then_quantised() -> None:
    subject = testbed()
    subject.remember_base()
    with pytest.raises(Inapplicable, match="no quantiser"):
        UpdateSurvival().measure(subject, CONTEXT)
    subject.apply(RoundToNearest(bits=4), CONTEXT)
    with pytest.raises(Inapplicable, match="trained"):
        UpdateSurvival().measure(subject, CONTEXT)
    subject.apply(TRAIN, CONTEXT)
    with pytest.raises(Inapplicable, match="no quantiser"):
        UpdateSurvival().measure(subject, CONTEXT)


def test_scales_that_an_older_version_did_not_keep_are_missed() -> None:
    subject = tiny()
    subject.remember_base()
    subject.applied.append(Applied(TRAIN, Receipt(subject.weight_names())))
    receipt = subject.apply(AWQ(bits=4, **SMALL), CONTEXT)
    kept = {name: value for name, value in receipt.kept.items() if not name.endswith(".fold")}
    subject.applied[-1] = Applied(subject.applied[-1].intervention, Receipt(receipt.changed, kept=kept))
    with pytest.raises(MeasurementError, match="older version"):
        UpdateSurvival().measure(subject, CONTEXT)
