"""Sizes of a model by hand."""

from __future__ import annotations

import pytest

from rayci.model.shapes import sketch
from rayci.model.sizes import Sizes
from rayci.workload import Workload
from tests.models import CHOSEN, EXPERT_INNER, EXPERTS, HIDDEN, INNER, LAYERS, MIXTURES, tiny


def test_the_testbed_by_hand() -> None:
    """Four blocks of 128 channels, two heads' keys and values for four queries; the MLP is as wide."""
    sizes = Sizes(sketch("testbed", dtype="bfloat16").subject)
    assert (sizes.hidden, sizes.inner, sizes.blocks, sizes.context) == (128, 128, 4, 256)
    assert (sizes.parameters, sizes.weight_bytes, sizes.element) == (689_280, 2 * 689_280, 2)
    assert sizes.groups == [[(128, 128), (64, 128), (64, 128)], [(128, 128)], [(128, 128)] * 2, [(128, 128)]]
    assert sizes.linears == [shape for group in sizes.groups for shape in group] * 4
    assert sizes.inputs == [(256, 128, 1.0), (128, 128, 1.0), (256, 128, 1.0), (128, 128, 1.0)] * 4
    assert (sizes.largest, sizes.widest, sizes.gram) == (128 * 128, 2 * 128 * 128, 4 * 128 * 128)


def test_gradients_pass_the_blocks_from_the_lowest_trained_one() -> None:
    sizes = Sizes(tiny())
    assert sizes.blocks_above(["model.layers.1.mlp.up_proj.weight", "model.layers.2.mlp.up_proj.weight"]) == LAYERS - 1
    assert sizes.blocks_above(["model.layers.2.mlp.up_proj.weight", "model.embed_tokens.weight"]) == LAYERS
    assert sizes.elements(["model.layers.1.mlp.up_proj.weight"]) == HIDDEN * INNER


@pytest.mark.parametrize("kind", MIXTURES)
def test_every_expert_counts(kind: str) -> None:
    sizes = Sizes(tiny(kind))
    out = [group for group in sizes.groups if group == [(HIDDEN, EXPERT_INNER)]]
    assert len(out) == EXPERTS
    assert sizes.inputs.count((HIDDEN, EXPERT_INNER, CHOSEN / EXPERTS)) >= EXPERTS * (LAYERS - 1)


def test_a_token_passes_the_experts_that_are_picked_for_it() -> None:
    sizes = Sizes(tiny("mixtral"))
    expert = 3 * HIDDEN * EXPERT_INNER
    assert sizes.passed == pytest.approx(sizes.parameters - LAYERS * (EXPERTS - CHOSEN) * expert)
    assert float(Workload(sizes.subject).forward_operations(7)) == pytest.approx(2 * 7 * sizes.passed)
    assert Sizes(tiny()).passed == Sizes(tiny()).parameters
    assert Sizes(tiny("qwen3_moe")).passed < Sizes(tiny("qwen3_moe")).parameters  # one of its blocks is dense
