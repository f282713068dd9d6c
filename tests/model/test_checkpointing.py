"""Blocks that run again in the backward pass: the same bits, in the memory of one block."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rayci.model.checkpointing import checkpointed
from rayci.subject import Subject
from tests.memory_meter import peak_of
from tests.models import ARCHITECTURES, tiny

IDS = torch.arange(2, 42).reshape(2, 20)


def gradients(subject: Subject) -> dict[str, Tensor]:
    subject.model.zero_grad()
    subject.model(input_ids=IDS, use_cache=False).logits.square().mean().backward()
    return {name: value.grad.clone() for name, value in subject.model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_gradients_are_the_same_bit_for_bit_and_blocks_are_left_as_found(kind: str) -> None:
    subject = tiny(kind)
    kept = gradients(subject)
    with checkpointed(subject.blocks):
        again = gradients(subject)
    assert again.keys() == kept.keys()
    assert all(value.equal(kept[name]) for name, value in again.items())
    assert not any("forward" in vars(block) for block in subject.blocks)


def test_what_others_have_put_on_a_block_comes_back_after_a_failure_too() -> None:
    subject = tiny()
    block = subject.blocks[0]
    own = block.forward
    vars(block)["forward"] = own  # as accelerate does
    with pytest.raises(KeyError), checkpointed(subject.blocks):
        raise KeyError
    assert vars(block)["forward"] is own


def test_hooks_on_a_block_run_once() -> None:
    subject, seen = tiny(), []
    handle = subject.blocks[1].register_forward_hook(lambda *_: seen.append(1))
    with checkpointed(subject.blocks):
        gradients(subject)
    handle.remove()
    assert len(seen) == 1


def test_further_blocks_keep_their_inputs_alone() -> None:
    def peak(blocks: int) -> int:
        subject = tiny(num_hidden_layers=blocks, hidden_size=64, intermediate_size=512)
        for value in subject.model.parameters():
            value.requires_grad_(False)
        subject.blocks[0].get_parameter(f"{subject.paths.mlp_out}.weight").requires_grad_(True)
        with checkpointed(subject.blocks):
            return peak_of(subject.model, lambda: gradients(subject))

    inputs = IDS.numel() * 64 * 4
    assert peak(6) - peak(4) <= 2.1 * inputs


def test_without_gradients_nothing_is_made_again() -> None:
    subject, runs = tiny(), []
    handle = subject.blocks[0].get_submodule("mlp").register_forward_pre_hook(lambda *_: runs.append(1))
    with checkpointed(subject.blocks), torch.no_grad():
        subject.model(input_ids=IDS, use_cache=False)
    assert len(runs) == 1
    with checkpointed(subject.blocks):
        gradients(subject)
    handle.remove()
    assert len(runs) == 3  # forward, and once more on the way back
