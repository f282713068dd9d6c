"""What training steps hold on the device beside the weights, told from shapes.

    gradients    4 bytes a trained weight: fp32 sums over the backward passes of a step
    masters      4, where the weights are stored in more precision than they are held in
    moments      8: Adam's, fp32
    graph        one block's activations and the inputs of all blocks, or every block's where that is little
    logits       of a chunk of tokens

Where masters and moments do not fit beside the rest they wait in host memory, one parameter after the other comes to
the device for its step. Llama-3-8B in bf16, GA on its last 16 blocks: 16.1 GB of weights, 14.0 of gradients, 27.9 of
moments; under `storage: float32` 14.0 of masters more. All of it trained: 16.1 and 32.1, and 64.2 of moments on the
host.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from rayci.model.likelihood import rows_at_a_time
from rayci.model.sizes import Sizes
from rayci.units import GIB

Storage = Literal["float32", "bfloat16"]
"""Precision in which weights are kept between steps. `bfloat16` loses updates below half a
unit in the last place, as the published bf16 baselines do; it decides whether a later
4-bit quantisation brings forgotten knowledge back."""

RESERVE = 1.15
"""Memory reserved, as a multiple of what is held: the allocator's blocks, and what CUDA itself takes."""
PASSING = 8e9
"""Bytes that are left to what a step holds for a while, when it is decided where masters and moments lie."""


@dataclass(frozen=True)
class StepMemory(Sizes):
    """Bytes of training steps on one model; of several GPUs, on the fullest."""

    kept_graph: ClassVar[int] = 4 * GIB
    """Blocks whose graphs take at most so many bytes keep them; others are run again in the backward pass."""

    device_memory: float = field(default=80e9, kw_only=True)
    """Bytes of one device."""

    @property
    def block_bytes(self) -> int:
        """What one block keeps of a token for its backward pass."""
        return self.element * (12 * self.hidden + 5 * self.inner) + 8 * self.hidden

    def graph_bytes(self, tokens: int, blocks: int) -> int:
        """What `blocks` keep of so many tokens, where none is run again."""
        return tokens * blocks * self.block_bytes

    def backward_bytes(self, tokens: int, blocks: int) -> int:
        """What a pass through `blocks` keeps of so many tokens until its backward pass has ended."""
        graph = self.graph_bytes(tokens, blocks)
        if graph <= self.kept_graph:
            return graph
        return tokens * (blocks * self.element * self.hidden + self.block_bytes)

    def scored_bytes(self, tokens: int, distributions: int = 1) -> int:
        """Logits, their log-probabilities and the gradients of both, of as many tokens as are scored at a time."""
        rows = min(tokens, rows_at_a_time(self.vocabulary))
        return rows * self.vocabulary * (20 + 12 * (distributions - 1)) + 3 * tokens * self.hidden * self.element

    def state_bytes(self, storage: Storage) -> int:
        """Masters and moments of a trained weight: a weight that holds what it stores is its own master."""
        return 8 + (4 if storage == "float32" and self.element < 4 else 0)

    def waits_on_host(self, names: Collection[str], storage: Storage) -> bool:
        """Whether masters and moments of these parameters lie in host memory between steps."""
        held = self.fullest_bytes + self.most_elements(names) * (4 + self.state_bytes(storage))
        return RESERVE * (held + PASSING) > self.device_memory

    def waiting_bytes(self, names: Collection[str], storage: Storage) -> int:
        """What waits of them in host memory, of all GPUs together."""
        return self.elements(names) * self.state_bytes(storage) if self.waits_on_host(names, storage) else 0

    def step_bytes(self, names: Collection[str], passing: int, storage: Storage = "float32") -> int:
        """Training of these parameters; `passing` bytes are held by one pass forward and back.

        The largest parameter has two gradients while they are added, and its master and moments, or the temporaries
        of its moments, while it is stepped.
        """
        largest = max(self.sizes(names).values(), default=0)
        lasting = 4 if self.waits_on_host(names, storage) else 4 + self.state_bytes(storage)
        return self.most_elements(names) * lasting + max(passing + 2 * self.element * largest, 12 * largest)
