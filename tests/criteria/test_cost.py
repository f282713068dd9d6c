"""Sparsity, bits, operations and changes, worked by hand on the weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rayci.context import Context
from rayci.criteria.cost import AverageBits, NominalBits, Operations, ParametersChanged, Sparsity
from rayci.errors import RequestError
from rayci.interventions.compression.rtn import RoundToNearest
from rayci.interventions.compression.wanda import Wanda
from rayci.interventions.editing.finetuning import FineTuning
from rayci.model import modules
from rayci.model.experts import Expert
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import testbed, tiny

CONTEXT = Context(collection(), batch_size=6)
CALIBRATION: dict[str, Any] = {"sequences": 4, "length": 32}
EDIT = FineTuning(layers=(1, 2), lr=1e-3, steps=2)


def measured(subject: Subject) -> float:
    return AverageBits().measure(subject, CONTEXT).value


def nominal(subject: Subject) -> float:
    return NominalBits().measure(subject, CONTEXT).value


def zeros(subject: Subject) -> float:
    return Sparsity().measure(subject, CONTEXT).value


def wanda(sparsity: float) -> Wanda:
    return Wanda(sparsity=sparsity, **CALIBRATION)


def share_of(subject: Subject, path: str, layers: tuple[int, ...]) -> float:
    """Share of the linears' weights that stand in these layers' linear at `path`."""
    sizes = {name: module.weight.numel() for name, module in subject.linears()}
    return sum(sizes[f"model.layers.{layer}.{path}"] for layer in layers) / sum(sizes.values())


def test_an_untouched_model_has_sixteen_bits_and_few_zeros() -> None:
    subject = testbed()
    assert (measured(subject), nominal(subject)) == (16, 16)
    exact = [int((modules.weight(module) == 0).sum()) for _, module in subject.linears()]
    reading = Sparsity().measure(subject, CONTEXT)
    assert reading.n == sum(module.weight.numel() for _, module in subject.linears())
    assert reading.value == sum(exact) / reading.n < 0.001


def test_sparsity_counts_exact_zeros_of_linears_alone() -> None:
    subject = tiny()
    with torch.no_grad():
        for _, module in subject.linears():
            module.weight.fill_(1e-30)
        subject.model.get_input_embeddings().weight.zero_()  # type: ignore[operator]
        first = modules.weight(next(subject.linears())[1])
        first[0] = -0.0
    count = sum(module.weight.numel() for _, module in subject.linears())
    assert zeros(subject) == pytest.approx(first.shape[1] / count)


@pytest.mark.parametrize(("sparsity", "bits"), [(0.25, 12.25), (0.5, 8.5), (0.75, 4.75)])
def test_a_pruned_weight_counts_one_bit(sparsity: float, bits: float) -> None:
    subject = testbed()
    subject.apply(wanda(sparsity), CONTEXT)
    assert nominal(subject) == bits
    assert measured(subject) == pytest.approx(bits)
    assert zeros(subject) == pytest.approx(sparsity)


@pytest.mark.parametrize(
    ("settings", "bits"),
    [
        ({"bits": 4}, 4.25),  # 32 bits for 128 weights
        ({"bits": 2}, 2.25),
        ({"bits": 3, "group_size": 32}, 4.0),
        ({"bits": 4, "range": "absmax"}, 4.25),
        ({"bits": 4, "range": "absmax_tensor"}, 4.0),
        ({"bits": 8, "group_size": -1}, 8.0),
    ],
)
def test_a_quantised_weight_counts_its_bits_and_its_share_of_the_scale(settings: dict[str, Any], bits: float) -> None:
    subject = testbed()
    subject.apply(RoundToNearest(**settings), CONTEXT)
    assert nominal(subject) == pytest.approx(bits)
    assert measured(subject) == pytest.approx(bits)


def test_pruned_then_quantised() -> None:
    subject = testbed()
    subject.apply(wanda(0.5), CONTEXT)
    subject.apply(RoundToNearest(bits=4), CONTEXT)
    assert nominal(subject) == pytest.approx(0.5 * 1 + 0.5 * 4.25)
    # rounding makes more zeros than the pruner did: those are levels of the grid like any other
    assert zeros(subject) > 0.5
    assert measured(subject) == pytest.approx(nominal(subject))


def test_quantised_then_pruned() -> None:
    subject = testbed()
    subject.apply(RoundToNearest(bits=4), CONTEXT)
    subject.apply(wanda(0.5), CONTEXT)
    assert nominal(subject) == pytest.approx(2.625)
    assert measured(subject) == pytest.approx(nominal(subject))


def test_the_weakest_bits_claimed_are_those_of_the_last_quantiser() -> None:
    subject = testbed()
    for bits in (8, 4):
        subject.apply(RoundToNearest(bits=bits), CONTEXT)
    assert nominal(subject) == pytest.approx(4.25)
    assert measured(subject) == pytest.approx(4.25)


def test_an_edit_after_quantising_makes_its_layers_dense_and_reprojecting_brings_them_back() -> None:
    subject = testbed()
    rtn = RoundToNearest(bits=4)
    subject.apply(rtn, CONTEXT)
    subject.apply(EDIT, CONTEXT)
    dense = share_of(subject, "mlp.down_proj", (1, 2))
    assert nominal(subject) == pytest.approx(4.25)
    assert measured(subject) == pytest.approx(dense * 16 + (1 - dense) * 4.25)
    subject.apply(rtn, CONTEXT, "reproject")
    assert measured(subject) == pytest.approx(4.25)


def test_an_edit_after_pruning_takes_the_zeros_of_its_layers() -> None:
    subject = testbed()
    subject.apply(wanda(0.5), CONTEXT)
    subject.apply(EDIT, CONTEXT)
    dense = share_of(subject, "mlp.down_proj", (1, 2))
    assert zeros(subject) == pytest.approx((1 - dense) * 0.5, abs=2e-3)
    assert measured(subject) == pytest.approx(dense * 16 + (1 - dense) * 8.5, abs=0.03)
    subject.apply(wanda(0.5), CONTEXT, "reproject")
    assert zeros(subject) == pytest.approx(0.5)
    assert measured(subject) == pytest.approx(8.5)


def test_one_weight_off_the_grid_makes_its_group_dense() -> None:
    subject = testbed()
    subject.apply(RoundToNearest(bits=4, group_size=32), CONTEXT)
    weight = modules.weight(next(subject.linears())[1])
    weight[0, 5] += 1e-4
    count = sum(module.weight.numel() for _, module in subject.linears())
    assert measured(subject) == pytest.approx(5.0 + 32 * (16 - 5.0) / count, abs=1e-9)


def test_bits_of_conv1d_weights_are_counted_along_their_inputs() -> None:
    subject = tiny("gpt2")
    subject.apply(RoundToNearest(bits=4, group_size=16), CONTEXT)
    assert measured(subject) == pytest.approx(6.0)
    module = next(subject.linears())[1]
    with torch.no_grad():
        module.weight[:, 0] += 0.01  # all inputs of one output: two groups of 16
    count = sum(module.weight.numel() for _, module in subject.linears())
    assert measured(subject) == pytest.approx(6.0 + 32 * 10 / count)


def test_a_token_takes_two_operations_for_each_weight_that_is_not_zero() -> None:
    subject = tiny()
    weights = sum(module.weight.numel() for _, module in subject.linears())
    head = 1152 * 32
    reading = Operations().measure(subject, CONTEXT)
    assert (reading.value, reading.n) == (2 * (weights + head), weights + head)
    subject.apply(wanda(0.5), CONTEXT)
    assert Operations().measure(subject, CONTEXT).value == 2 * (weights / 2 + head)


def test_a_token_passes_the_experts_that_the_router_picks() -> None:
    subject = tiny("mixtral")  # two of five experts
    experts = sum(module.weight.numel() for _, module in subject.linears() if isinstance(module, Expert))
    others = sum(module.weight.numel() for _, module in subject.linears() if not isinstance(module, Expert))
    assert experts > 0
    assert Operations().measure(subject, CONTEXT).value == pytest.approx(2 * (experts * 2 / 5 + others + 1152 * 32))


def test_parameters_changed_are_counted_against_the_untouched_model() -> None:
    subject = tiny()
    subject.remember_base()
    assert ParametersChanged().measure(subject, CONTEXT).value == 0
    subject.apply(RoundToNearest(bits=8, group_size=-1), CONTEXT)
    first = modules.weight(next(subject.linears())[1])
    assert subject.base is not None
    for name, value in subject.model.named_parameters():  # all but nine are as they were
        value.data.copy_(subject.base[name])
    first[0, :9] += 1
    reading = ParametersChanged().measure(subject, CONTEXT)
    total = sum(value.numel() for value in subject.model.parameters())
    assert (reading.value, reading.n) == (9 / total, total)


def test_what_was_changed_without_its_base_cannot_be_counted() -> None:
    subject = tiny()
    assert ParametersChanged().measure(subject, CONTEXT).value == 0
    subject.apply(RoundToNearest(bits=8, group_size=-1), CONTEXT)
    with pytest.raises(RequestError, match="untouched weights were not kept"):
        ParametersChanged().measure(subject, CONTEXT)
