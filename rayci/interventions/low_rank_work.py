"""What training through adapters meets: the shapes are the model's, what is stepped is the adapters."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, fields
from typing import Self

from rayci.effort import Effort
from rayci.model import modules
from rayci.model.step_memory import Storage
from rayci.workload import BACKWARD_CALLS, BATCH_TOKENS, Workload

ADAPTER_CALLS = 0.1
"""What the calls of an adapter take on the way forth, in those of a block."""


@dataclass(frozen=True)
class LowRankWorkload(Workload):
    """A workload in which weights that are trained move by products of this rank."""

    rank: int = field(default=8, kw_only=True)

    @classmethod
    def of(cls, work: Workload, rank: int) -> Self:
        """The same workload with adapters in the place of trained weights."""
        return cls(**{known.name: getattr(work, known.name) for known in fields(work)}, rank=rank)

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Elements of A and B together, by the weight's name."""
        wanted = set(names)
        linears = ((modules.parameter_name(name, module), module) for name, module in self.subject.linears())
        shapes = {name: modules.weight(module).shape for name, module in linears if name in wanted}
        return {name: self.rank * sum(shape) for name, shape in shapes.items()}

    def copied_bytes(self, names: Iterable[str]) -> int:
        """Of adapters, which are fp32."""
        return 4 * self.most_elements(names)

    @property
    def block_bytes(self) -> int:
        """And of every linear the input in fp32, where it is not that already, and A's output."""
        own = 0 if self.element == 4 else 4
        adapters = sum(own * columns + 4 * self.rank for group in self.groups for _, columns in group)
        return super().block_bytes + adapters

    def backward_bytes(self, tokens: int, blocks: int) -> int:
        """And B's output of the widest linear, before and after it is scaled, fp32."""
        return super().backward_bytes(tokens, blocks) + 8 * tokens * max(rows for rows, _ in self.linears)

    def state_bytes(self, storage: Storage) -> int:
        """An adapter, which lies beside the model, and its moments; all of it fp32."""
        return 12

    def step_bytes(self, names: Collection[str], passing: int, storage: Storage = "float32") -> int:
        """And at the end a weight's update and the sum of both, fp32."""
        return super().step_bytes(names, max(passing, 12 * self.largest), storage)

    def training_operations(
        self,
        tokens: float,
        names: Iterable[str],
        depth: float = 1.0,
        *,
        passes: float | None = None,
        logits: bool = True,
    ) -> Effort:
        """And through the adapters, there and back."""
        sizes = self.sizes(names)
        through = super().training_operations(tokens, sizes, depth, passes=passes, logits=logits)
        calls = (1 + BACKWARD_CALLS) * ADAPTER_CALLS * len(sizes) * (passes or max(tokens / BATCH_TOKENS, 1.0))
        return through + Effort(4.0 * tokens * sum(sizes.values()), blocks=calls)
