"""AWQ by hand, against loops over real forward passes, and on models."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rayci.context import Context
from rayci.errors import InterventionError, RequestError
from rayci.interventions.compression.awq import AWQ
from rayci.interventions.compression.awq_clip import clip, clip_bounds
from rayci.interventions.compression.awq_inputs import look
from rayci.interventions.compression.awq_scales import relative_magnitude, scales_at
from rayci.interventions.compression.folding import folds
from rayci.interventions.compression.grid import activation_aware
from rayci.interventions.compression.walk import walk
from rayci.interventions.compression.wanda import Wanda
from rayci.model import modules
from rayci.testbed import collection
from tests.interventions import awq_naive as naive
from tests.interventions.surgery import correlated, random
from tests.models import ARCHITECTURES, differing, testbed, tiny, weights

CONTEXT = Context(collection())
SMALL: dict[str, Any] = {"sequences": 4, "length": 32, "group_size": 16}


def test_scales_by_hand() -> None:
    mean = torch.tensor([1.0, 4.0, 16.0])
    # √x is 1 2 4, the middle of its range √(1 · 4) = 2
    assert scales_at(0.5, mean).tolist() == pytest.approx([0.5, 1.0, 2.0])
    assert scales_at(0.0, mean).tolist() == [1.0, 1.0, 1.0]
    # an unused channel is held at 1e−4: √(1e−4 · 4) = .02
    assert scales_at(0.5, torch.tensor([0.0, 4.0, 16.0])).tolist() == pytest.approx([0.005, 100.0, 200.0])


def test_duo_scales_by_hand() -> None:
    mean, relative = torch.tensor([1.0, 4.0, 16.0]), torch.tensor([1.0, 0.25, 0.25])
    # √x / √w is 1/1 2/.5 4/.5 = 1 4 8, over √8
    expected = [1 / 8**0.5, 4 / 8**0.5, 8 / 8**0.5]
    assert scales_at(0.5, mean, relative).tolist() == pytest.approx(expected, rel=1e-3)
    assert scales_at(0.0, torch.ones(2), torch.zeros(2)).tolist() == [1, 1]


def test_relative_magnitude_by_hand() -> None:
    weight = torch.tensor([[1.0, -2.0, 3.0, 1.5], [4.0, 4.0, 0.0, 8.0]])
    # groups of two: (.5 1)(1 .5) and (1 1)(0 1); of both rows the mean
    assert relative_magnitude([weight[:1], weight[1:]], 2).tolist() == pytest.approx([0.75, 1, 0.5, 0.75])


@pytest.mark.parametrize(
    ("row", "scale", "zero", "expected"),
    [
        ([-1.0, 0.0, 0.4, 2.0], 1.0, 1.0, [-1.0, 0.0, 0.0, 2.0]),
        ([4.0, 5.0, 6.0, 7.0], 1.0, 0.0, [3.0, 3.0, 3.0, 3.0]),  # a zero below the codes is held at 0
        ([-7.0, -6.0, -5.0, -4.0], 1.0, 3.0, [-3.0, -3.0, -3.0, -3.0]),
        ([0.0, 0.0, 0.0, 0.0], 1e-5 / 3, 0.0, [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_levels_by_hand(row: list[float], scale: float, zero: float, expected: list[float]) -> None:
    grid = activation_aware(torch.tensor([row]), 2, 4, symmetric=False)
    assert grid.scale.item() == pytest.approx(scale)
    assert grid.zero.item() == zero
    assert grid.round(torch.tensor([row]))[0].tolist() == expected


def test_symmetric_levels_by_hand() -> None:
    grid = activation_aware(torch.tensor([[-6.0, 1.0, 2.0, 3.5]]), 3, 4, symmetric=True)
    assert grid.scale.item() == 2.0  # 6 / 3
    assert grid.round(torch.tensor([[-6.0, 1.0, 2.0, 3.5]]))[0].tolist() == [-6.0, 0.0, 2.0, 4.0]


def test_an_outlier_of_an_unused_channel_is_clipped_by_hand() -> None:
    # Steps of 10/3 for 0 … 10 hold 1.5 and 1.8 badly. The large weight's channel is silent, so
    # the smallest bound, 5.5 with steps of 5.5/3 = 1.83, wins.
    weight, silent = torch.tensor([[0.0, 1.5, 1.8, 10.0]]), torch.eye(4)[:3]

    def quantise(w: torch.Tensor) -> torch.Tensor:
        return activation_aware(w, 2, 4, symmetric=False).round(w)

    bounds = clip_bounds(weight, silent, 4, quantise)
    assert bounds.tolist() == [[pytest.approx(5.5)]]
    assert clip(weight, bounds).tolist() == [[0.0, 1.5, pytest.approx(1.8), pytest.approx(5.5)]]
    assert clip_bounds(weight, torch.tensor([[0.0, 0.0, 0.0, 1.0]]), 4, quantise).tolist() == [[10.0]]


@pytest.mark.parametrize(("tokens", "group"), [(300, 16), (9, 16), (64, 64), (40, 64)])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_gram_matrices_choose_the_bounds_of_the_loop(bits: int, tokens: int, group: int) -> None:
    weight, inputs = random(48, 64, bits), correlated(64, bits, tokens)
    ours = clip_bounds(weight, inputs, group, lambda w: activation_aware(w, bits, group, symmetric=False).round(w))
    theirs = naive.search_clip(weight, inputs, bits, group)
    assert (ours == theirs).double().mean() >= 0.995
    assert (ours != weight.abs().reshape(48, -1, group).amax(-1)).any()


MODELS: dict[str, Any] = {
    "llama, grouped-query": tiny,
    "llama, o_proj scaled": lambda: tiny(num_key_value_heads=4),
    "qwen2, biases": lambda: tiny("qwen2"),
    "testbed": testbed,
}


@pytest.mark.parametrize(
    ("model", "bits", "duo"),
    [(model, 3, False) for model in MODELS if model != "testbed"]
    + [(model, 4, True) for model in ("llama, grouped-query", "testbed")],
)
def test_as_loops_over_forward_passes(model: str, bits: int, duo: bool) -> None:
    ours, theirs = MODELS[model](), MODELS[model]()
    group = 32 if model == "testbed" else 16
    tokens = CONTEXT.calibration(ours.tokenizer, 12, 48)
    expected = naive.awq(theirs, tokens, bits, group, duo=duo)
    awq = AWQ(bits=bits, group_size=group, duo_scaling=duo, sequences=12, length=48)
    receipt = ours.apply(awq, CONTEXT)
    ratios = {name.removesuffix(".ratio"): value for name, value in receipt.counts.items() if name.endswith(".ratio")}
    assert ratios == expected.ratios
    assert ("model.layers.0.self_attn.o_proj" in ratios) == ("scaled" in model)
    for name, loss in expected.losses.items():
        assert receipt.counts[f"{name}.loss"] == pytest.approx(loss, rel=1e-4)
    now, then = weights(ours), weights(theirs)
    same = torch.cat([torch.isclose(now[name], then[name], rtol=1e-3, atol=1e-5).flatten() for name in then])
    assert same.double().mean() >= 0.9999


def test_sampled_tokens_are_every_nth_whatever_the_batch() -> None:
    subject = tiny()
    tokens = CONTEXT.calibration(subject.tokenizer, 7, 31)
    samples = []
    for batch in (7, 2):
        inputs = next(walk(subject, tokens, batch))
        samples.append(look(inputs, folds(subject, inputs.block), 9).seen["self_attn.o_proj"].sample)
    whole = next(walk(subject, tokens, 7))
    everything = look(whole, folds(subject, whole.block), 1).seen["self_attn.o_proj"].sample
    torch.testing.assert_close(samples[0], everything[::9])
    torch.testing.assert_close(samples[1], samples[0])


FOLDS = {"llama": 3, "mistral": 3, "qwen2": 3, "qwen3": 3, "phi3": 3, "gpt_neox": 2, "opt": 4, "gpt2": 2}


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_it_runs_on_every_architecture(kind: str, tied: bool) -> None:
    subject = tiny(kind, tied=tied)
    before = weights(subject)
    receipt = subject.apply(AWQ(bits=4, **SMALL), CONTEXT)
    assert len(folds(subject, subject.block(0))) == FOLDS[kind]
    assert differing(subject, before) <= set(receipt.changed)
    assert {f"{name}.weight" for name, _ in subject.linears()} <= set(receipt.changed)
    assert sum(name.endswith(".ratio") for name in receipt.counts) == FOLDS[kind] * len(subject.blocks)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_it_stays_near_the_dense_model(kind: str) -> None:
    subject = tiny(kind)
    ids = CONTEXT.calibration(subject.tokenizer, 4, 32)
    with torch.no_grad():
        before = subject.model(ids).logits
        subject.apply(AWQ(bits=8, **SMALL), CONTEXT)
        error = (subject.model(ids).logits - before).square().mean() / before.var()
    assert error < 1e-3


@pytest.mark.parametrize("form", [{}, {"symmetric": True}, {"group_size": -1}, {"duo_scaling": False}], ids=str)
@pytest.mark.parametrize("bits", [2, 5])
def test_every_group_is_on_its_grid_and_stays(bits: int, form: dict[str, Any]) -> None:
    subject = tiny()
    awq = AWQ(bits=bits, **{**SMALL, **form})
    receipt = subject.apply(awq, CONTEXT)
    for name, module in subject.linears():
        weight = modules.weight(module)
        groups = weight.reshape(-1, awq.group(name, weight.shape[1]))
        assert max(len(group.unique()) for group in groups) <= 2**bits
        assert awq.measured_bits(name, weight, receipt).unique().tolist() == [awq.nominal_bits()]
    once = weights(subject)
    subject.apply(awq, CONTEXT, "reproject")
    assert differing(subject, once) == set()


def test_the_receipt_holds_the_clip_bounds() -> None:
    subject = tiny()
    kept = subject.apply(AWQ(bits=4, **SMALL), CONTEXT).kept
    shrunk = 0
    for name, _ in subject.linears():
        if name.endswith(("q_proj", "k_proj")):
            assert f"{name}.clip" not in kept
            continue
        bounds, scale = kept[f"{name}.clip"], kept[f"{name}.scale"]
        assert bounds.shape == scale.shape
        assert bool((scale * 15 <= 2 * bounds * (1 + 1e-5)).all()), "a range is wider than its bounds"
        shrunk += int((bounds < bounds.max()).sum())
    assert shrunk > 0
    stored = AWQ(bits=4, **SMALL).reproject(subject, subject.receipts[0]).kept
    assert stored.keys() == kept.keys()


def test_each_block_sees_the_dense_outputs() -> None:
    subject, dense = tiny(), tiny()
    tokens = CONTEXT.calibration(subject.tokenizer, 4, 32)
    receipt = subject.apply(AWQ(bits=2, **SMALL), CONTEXT)
    last = len(dense.blocks) - 1
    for inputs in walk(dense, tokens, 8):
        if inputs.index == last:
            found = folds(dense, inputs.block)
            best = AWQ(bits=2, **SMALL).search(look(inputs, found, 1), found[0])
            assert receipt.counts[f"{inputs.name}.self_attn.q_proj.loss"] == pytest.approx(best.loss, rel=1e-5)


def test_zeros_of_a_pruner_stay_zero() -> None:
    subject = tiny()
    subject.apply(Wanda(sparsity=0.5, sequences=2, length=16), CONTEXT)
    gone = {name: modules.weight(module) == 0 for name, module in subject.linears()}
    subject.apply(AWQ(bits=2, **SMALL), CONTEXT)
    for name, module in subject.linears():
        assert not modules.weight(module)[gone[name]].any()


def test_dead_channels_and_zero_weights_leave_finite_weights() -> None:
    subject = tiny()
    with torch.no_grad():
        subject.blocks[0].input_layernorm.weight[[3, 5]] = 0
        subject.blocks[1].mlp.down_proj.weight.zero_()
        subject.blocks[2].self_attn.q_proj.weight[4] = 0
    subject.apply(AWQ(bits=4, **SMALL), CONTEXT)
    assert all(bool(torch.isfinite(value).all()) for value in weights(subject).values())


def test_fewer_tokens_than_channels_are_enough() -> None:
    subject = tiny()
    subject.apply(AWQ(bits=4, group_size=16, sequences=1, length=4), CONTEXT)
    assert all(bool(torch.isfinite(value).all()) for value in weights(subject).values())


def test_activations_that_are_not_finite_fail_the_stage() -> None:
    subject = tiny()
    with torch.no_grad():
        subject.model.get_input_embeddings().weight.fill_(float("nan"))  # type: ignore[operator]
    with pytest.raises(InterventionError, match=r"q_proj are not finite"):
        subject.apply(AWQ(bits=4, **SMALL), CONTEXT)


def test_a_group_that_does_not_divide_is_refused_before_any_weight_changes() -> None:
    subject = tiny(intermediate_size=48)
    before = weights(subject)
    with pytest.raises(RequestError, match="awq: group_size 32 does not divide the 48 columns"):
        subject.apply(AWQ(bits=4, **{**SMALL, "group_size": 32}), CONTEXT)
    assert differing(subject, before) == set()


def test_the_search_leaves_weights_and_hooks_alone() -> None:
    subject = tiny()
    before = weights(subject)
    inputs = next(walk(subject, CONTEXT.calibration(subject.tokenizer, 2, 16), 2))
    found = folds(subject, inputs.block)
    observed = look(inputs, found, 1)
    for given in found:
        AWQ(bits=3, **SMALL).search(observed, given)
    assert differing(subject, before) == set()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in subject.model.modules())
