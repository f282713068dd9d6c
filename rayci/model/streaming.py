"""Models larger than the GPU's free memory: blocks stay on the CPU and visit the GPU one at a time.

Embeddings, final norm and head stay on the GPU. Hooks on each block bring its weights there for
a forward pass; `Streaming.visit` keeps them there while they are changed. A parameter stays the
same object all along, only its data moves, so names and ties hold and results are those of a
model that fits, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rayci.errors import RequestError
from rayci.units import GIB

LEAST_MARGIN = GIB
"""Bytes that stay free beside the weights at least; a quarter of the weights where that is more.
They hold a batch's activations, a block's statistics and the calibration's hidden states."""


def free_bytes(device: torch.device) -> int:
    """What can still be allocated on a GPU, torch's own cache included."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def needed_bytes(model: nn.Module) -> int:
    """Weights and buffers, each once, and the margin beside them."""
    weights = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    return weights + max(weights // 4, LEAST_MARGIN)


def states_device(device: torch.device, size: int) -> torch.device:
    """Where `size` bytes of hidden states between two blocks are kept: on the GPU if they take at most
    half of what is free there, the other half being for the block at work; else on the CPU."""
    if device.type != "cuda" or 2 * size <= free_bytes(device):
        return device
    return torch.device("cpu")


class Streaming:
    """The blocks of one model, kept on the CPU, and the device that they visit."""

    def __init__(self, model: nn.Module, blocks: nn.ModuleList, device: torch.device, free: int = 0) -> None:
        """Moves everything but the blocks to `device`, where `free` bytes were found, and hooks the blocks."""
        self.device, self.needed, self.free = device, needed_bytes(model), free
        self._visits: dict[nn.Module, int] = dict.fromkeys(blocks, 0)
        self._kept: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {}
        self._written: set[nn.Module] = set()
        inside = {module for block in blocks for module in block.modules()}
        outside = [module for module in model.modules() if module not in inside]
        self._fixed = {id(tensor) for module in outside for tensor in _own(module)}
        for module in outside:
            for tensor in _own(module):
                tensor.data = tensor.data.to(device)
        for block in blocks:
            _hook(self, block)

    @property
    def resident(self) -> list[nn.Module]:
        """The blocks whose weights are on the device now."""
        return list(self._kept)

    @contextmanager
    def visit(self, block: nn.Module) -> Iterator[None]:
        """Inside, the block's weights are on the device and may be changed in place."""
        self.enter(block)
        try:
            yield
        finally:
            self.leave(block, written=True)

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Afterwards no block is on the device, whatever failed inside."""
        try:
            yield
        finally:
            for block in self.resident:
                self._visits[block] = 1
                self.leave(block, written=True)

    def enter(self, block: nn.Module) -> None:
        """Bring the block's weights to the device, unless they are there already."""
        if not self._visits[block]:
            tensors = [t for module in block.modules() for t in _own(module) if id(t) not in self._fixed]
            copies = [tensor.data.to(self.device, copy=True) for tensor in tensors]
            self._kept[block] = [(tensor, tensor.data) for tensor in tensors]
            for tensor, copy in zip(tensors, copies, strict=True):
                tensor.data = copy
        self._visits[block] += 1

    def leave(self, block: nn.Module, *, written: bool = False) -> None:
        """End one visit; the last one out takes changed weights back to the CPU."""
        if not self._visits[block]:  # the device was full, and the forward pass never began
            return
        self._visits[block] -= 1
        if written:
            self._written.add(block)
        if not self._visits[block]:
            for tensor, kept in self._kept.pop(block):
                if block in self._written:
                    kept.copy_(tensor.data)
                tensor.data = kept
            self._written.discard(block)

    def refuse(self, method: str) -> RequestError:
        """The error of a method that needs the whole model on the device."""
        needed, free = (f"{count / GIB:.1f} GiB" for count in (self.needed, self.free))
        return RequestError(
            f"{method} trains with gradients, which needs the whole model on {self.device}: {needed} with the margin "
            f"for forward passes, and more for gradients and optimiser state; {free} were free",
            allowed="methods without gradients (the compressors) where blocks are walked from CPU memory",
            hint="a GPU with more free memory, or device cpu",
        )


def _hook(streaming: Streaming, block: nn.Module) -> None:
    # Plain functions: a copy of the block keeps them and must not copy what they belong to.
    block.register_forward_pre_hook(lambda *_: streaming.enter(block))
    block.register_forward_hook(lambda *_: streaming.leave(block), always_call=True)


def _own(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]
