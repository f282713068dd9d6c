"""Layer removal: influences by hand and by the authors' formula, and models that are those without the blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rayci.context import Context
from rayci.criteria.cost import AverageBits, NominalBits, Operations, Sparsity
from rayci.errors import InterventionError, RequestError
from rayci.intervention import Receipt
from rayci.interventions.compression.layerdrop import LayerDrop, influence
from rayci.interventions.compression.rtn import RoundToNearest
from rayci.interventions.compression.wanda import Wanda
from rayci.model import modules
from rayci.subject import Subject
from rayci.testbed import collection
from tests.interventions.small import configured
from tests.models import ARCHITECTURES, LAYERS, MIXTURES, differing, testbed, tiny, weights

CONTEXT = Context(collection(), batch_size=4)
SMALL: dict[str, Any] = {"sequences": 5, "length": 32, "forward_batch": 2}


def drop(blocks: int = 1) -> LayerDrop:
    return LayerDrop(blocks=blocks, **SMALL)


def places(receipt: Receipt) -> list[int]:
    """Indices of the dropped blocks."""
    return sorted(int(name.rpartition(".")[2]) for name in receipt.kept)


def without(subject: Subject, gone: list[int]) -> Subject:
    """The subject with these blocks taken out of its model."""
    parent, _, last = subject.paths.blocks.rpartition(".")
    left = [block for index, block in enumerate(subject.blocks) if index not in gone]
    setattr(subject.model.get_submodule(parent), last, nn.ModuleList(left))
    subject.model.config.num_hidden_layers = len(left)
    return subject


@torch.no_grad()
def logits(subject: Subject) -> Tensor:
    ids = CONTEXT.calibration(subject.tokenizer, 2, 24)
    values: Tensor = subject.model(ids, use_cache=False).logits
    return values


def test_influence_is_one_less_the_cosine() -> None:
    before = torch.tensor([[[3.0, 4.0], [1.0, 0.0], [2.0, 2.0], [0.0, 0.0]]])
    after = torch.tensor([[[6.0, 8.0], [0.0, 5.0], [-1.0, -1.0], [1.0, 0.0]]])
    torch.testing.assert_close(influence(before, after), torch.tensor([[0.0, 1.0, 2.0, 1.0]]))


@pytest.mark.parametrize("kind", [*ARCHITECTURES, *MIXTURES])
def test_the_model_is_the_one_without_the_blocks(kind: str) -> None:
    subject = tiny(kind)
    gone = places(subject.apply(drop(LAYERS - 1), CONTEXT))
    assert len(gone) == LAYERS - 1
    torch.testing.assert_close(logits(subject), logits(without(tiny(kind), gone)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mixtral"])
@torch.no_grad()
def test_the_blocks_of_least_influence_go_by_whole_forward_passes(kind: str) -> None:
    subject = tiny(kind)
    ids = CONTEXT.calibration(subject.tokenizer, SMALL["sequences"], SMALL["length"])
    states: list[Tensor] = []
    for block in subject.blocks:
        block.register_forward_hook(lambda _, args, out: states.extend((args[0], out if out.dim() == 3 else out[0])))
    subject.model(ids, use_cache=False)
    pairs = [(a.double(), b.double()) for a, b in zip(states[::2], states[1::2], strict=True)]
    expected = [float(1 - ((a * b).sum(-1) / a.norm(dim=-1) / b.norm(dim=-1)).mean()) for a, b in pairs]
    receipt = tiny(kind).apply(drop(2), CONTEXT)
    found = [receipt.counts[f"{subject.paths.blocks}.{index}.influence"] for index in range(LAYERS)]
    assert found == pytest.approx(expected, rel=1e-5)
    assert places(receipt) == sorted(sorted(range(LAYERS), key=expected.__getitem__)[:2])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt"])
def test_what_is_left_is_bit_for_bit_what_it_was(kind: str) -> None:
    subject = tiny(kind)
    before = weights(subject)
    receipt = subject.apply(drop(), CONTEXT)
    (block,) = receipt.kept
    linears = [(name, module) for name, module in subject.linears() if name.startswith(f"{block}.")]
    names = {f"{name}.{part}" for name, module in linears for part in ("weight", "bias")} & before.keys()
    assert differing(subject, before) == set(receipt.changed) == names
    assert all(not value.any() for value in subject.parameters_of(names).values())


def test_dropped_weights_take_no_bits_no_operations_and_the_rest_what_it_took() -> None:
    dense, subject = testbed(), testbed()
    subject.apply(drop(), CONTEXT)

    def read(criterion: Any, model: Subject = subject) -> float:
        return float(criterion().measure(model, CONTEXT).value)

    assert (read(AverageBits), read(NominalBits)) == (12, 12)
    assert read(Sparsity) == pytest.approx(0.25, abs=1e-3)
    shallow = without(testbed(), places(subject.receipts[-1]))
    assert read(Operations) == read(Operations, shallow) < read(Operations, dense)
    subject.apply(RoundToNearest(bits=4), CONTEXT)
    assert (read(AverageBits), read(NominalBits)) == pytest.approx((0.75 * 4.25, 0.75 * 4.25))
    subject.apply(Wanda(sparsity=0.5, **SMALL), CONTEXT)
    assert read(NominalBits) == pytest.approx(0.75 * (0.5 + 0.5 * 4.25)) == pytest.approx(read(AverageBits))


def test_a_share_is_that_of_the_weights_where_blocks_differ() -> None:
    subject = tiny("qwen3_moe")  # block 1 has no experts
    receipt = subject.apply(drop(), CONTEXT)
    sizes = {name: modules.weight(module).numel() for name, module in subject.linears()}
    root = tuple(f"{block}." for block in receipt.kept)
    share = sum(size for name, size in sizes.items() if name.startswith(root)) / sum(sizes.values())
    assert drop().dropped_share(subject, receipt) == share != pytest.approx(1 / LAYERS, abs=0.01)
    assert NominalBits().measure(subject, CONTEXT).value == pytest.approx(16 * (1 - share))


def test_training_goes_on_as_on_the_shallower_model() -> None:
    subject = tiny()
    gone = places(subject.apply(drop(), CONTEXT))
    twin = without(tiny(), gone)
    for each, layers in ((subject, LAYERS), (twin, LAYERS - 1)):
        each.apply(configured("ga", last_layers=layers), CONTEXT)
    torch.testing.assert_close(logits(subject), logits(twin), rtol=0, atol=1e-5)
    assert Sparsity().measure(subject, CONTEXT).value == pytest.approx(1 / LAYERS)


def test_dropping_again_chooses_what_is_gone_first_and_reprojecting_drops_the_same() -> None:
    subject = tiny()
    first = subject.apply(drop(1), CONTEXT)
    assert first.kept.keys() < subject.apply(drop(2), CONTEXT).kept.keys()
    subject = tiny()
    subject.apply(drop(1), CONTEXT)
    for _, module in subject.linears():
        modules.weight(module).add_(0.1)
    again = subject.apply(drop(1), CONTEXT, "reproject")
    assert again.kept.keys() == first.kept.keys() and set(again.changed) == set(first.changed)
    assert Sparsity().measure(subject, CONTEXT).value == pytest.approx(1 / LAYERS)


def test_blocks_that_leave_none_are_refused() -> None:
    subject = tiny()
    before = weights(subject)
    with pytest.raises(RequestError, match="layerdrop: 3 of 3 blocks leave none") as error:
        subject.apply(drop(LAYERS), CONTEXT)
    assert (error.value.allowed, error.value.key) == ("1 to 2", ("blocks",))
    assert not differing(subject, before)


def test_a_block_that_normalises_its_sum_is_refused_with_its_weights_as_they_were() -> None:
    subject = tiny("opt", do_layer_norm_before=False)
    before = weights(subject)
    with pytest.raises(InterventionError, match=r"layers\.0 changes its input even where its linears give zeros"):
        subject.apply(drop(), CONTEXT)
    assert not differing(subject, before)
    assert not any(module._forward_hooks for module in subject.model.modules())
