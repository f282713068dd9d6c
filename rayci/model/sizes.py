"""Sizes of a model, told from its shapes: its weights are not read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from rayci.model import modules
from rayci.model.experts import Expert, expert_paths

if TYPE_CHECKING:
    from rayci.subject import Subject


FILLED = 0.9
"""How much of an even share accelerate's `device_map="auto"` fills on every GPU but the last: of 32 blocks over two it
puts 14 on the first."""


@dataclass(frozen=True)
class Sizes:
    """How large the parts of a model are."""

    subject: Subject
    """The model; its weights may be missing (`rayci.model.shapes`)."""
    gpus: int = field(default=1, kw_only=True)
    """GPUs over which it is spread: embeddings and blocks in order, the head on the last."""

    @cached_property
    def parameters(self) -> int:
        """Number of the model's parameters."""
        return sum(value.numel() for value in self.subject.model.parameters())

    @cached_property
    def passed(self) -> float:
        """Number of the parameters that a token passes: of the routed experts, the share that the router picks."""
        paths, config = self.subject.paths, self.subject.model.config.get_text_config()
        idle = 0.0
        for block in self.subject.blocks if paths.experts else ():
            experts = expert_paths(block, paths.experts)
            weights = sum(modules.linear(block, path).weight.numel() for both in experts for path in both)
            idle += weights * (1 - config.num_experts_per_tok / len(experts)) if experts else 0.0
        return self.parameters - idle

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of the model's parameters."""
        return sum(value.nbytes for value in self.subject.model.parameters())

    @cached_property
    def fullest_bytes(self) -> int:
        """Bytes of the parameters on the GPU that holds the most of them."""
        return max(self._on_each(value.nbytes for value in self.subject.model.parameters()))

    @property
    def element(self) -> int:
        """Bytes of a weight and of an activation."""
        return self.subject.model.dtype.itemsize

    @property
    def hidden(self) -> int:
        """Channels of the hidden states."""
        return self.subject.hidden_size

    @property
    def context(self) -> int:
        """Tokens of the longest input."""
        return self.subject.context_length

    @cached_property
    def blocks(self) -> int:
        """Number of decoder blocks."""
        return len(self.subject.blocks)

    @cached_property
    def vocabulary(self) -> int:
        """Rows of the output embeddings."""
        rows: int = self.subject.model.get_output_embeddings().weight.shape[0]
        return rows

    @cached_property
    def linears(self) -> list[tuple[int, int]]:
        """Rows and columns of every linear in the decoder blocks."""
        return [_shape(linear) for _, linear in self.subject.linears()]

    @cached_property
    def inputs(self) -> list[tuple[int, int, float]]:
        """Of every input of linears in the decoder blocks: all their rows, its columns, its share of the tokens."""
        found = []
        for block in self.subject.blocks:
            for group in self.subject.paths.groups(block):
                linears = [modules.linear(block, path) for path in group]
                rows = sum(_shape(linear)[0] for linear in linears)
                found.append((rows, _shape(linears[0])[1], self._share(linears[0])))
        return found

    def _share(self, linear: modules.Linear) -> float:
        """Share of the tokens that reach a linear."""
        if not isinstance(linear, Expert):
            return 1.0
        chosen: int = self.subject.model.config.get_text_config().num_experts_per_tok
        return chosen / len(linear.experts.get_parameter(linear.parameter))

    @cached_property
    def groups(self) -> list[list[tuple[int, int]]]:
        """Rows and columns of every linear of the first block, those with one input together."""
        block = self.subject.block(0)
        paths = self.subject.paths.groups(block)
        return [[_shape(modules.linear(block, path)) for path in group] for group in paths]

    @cached_property
    def inner(self) -> int:
        """Widest input of a linear."""
        return max(columns for group in self.groups for _, columns in group)

    @cached_property
    def largest(self) -> int:
        """Elements of the largest linear."""
        return max(rows * columns for group in self.groups for rows, columns in group)

    @cached_property
    def widest(self) -> int:
        """Elements of the largest group of linears with one input."""
        return max(sum(rows * columns for rows, columns in group) for group in self.groups)

    @cached_property
    def gram(self) -> int:
        """Elements of one [in, in] matrix for every group of linears of a block."""
        return sum(group[0][1] ** 2 for group in self.groups)

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Elements of each of these parameters, or of what is trained in its place."""
        return {name: value.numel() for name, value in self.subject.parameters_of(names).items()}

    def elements(self, names: Iterable[str]) -> int:
        """Elements of these parameters."""
        return sum(self.sizes(names).values())

    def most_elements(self, names: Iterable[str]) -> int:
        """Elements of those of these parameters that lie on one GPU, on the one where they are the most."""
        counted = self.sizes(names)
        return max(self._on_each(counted.get(name, 0) for name, _ in self.subject.model.named_parameters()))

    def copied_bytes(self, names: Iterable[str]) -> int:
        """Bytes of copies of these parameters, on the GPU where they are the most."""
        return self.element * self.most_elements(names)

    def _on_each(self, amounts: Iterable[int]) -> list[int]:
        """Sums over the parameters of each GPU, of an amount for every parameter of the model."""
        sums = [0] * self.gpus
        for place, amount in zip(self._places, amounts, strict=True):
            sums[place] += amount
        return sums

    @cached_property
    def _places(self) -> list[int]:
        """On which GPU every parameter lies: each takes whole blocks up to its share, the last one what is left."""
        root = f"{self.subject.paths.blocks}."
        share, place, filled = FILLED * self.weight_bytes / self.gpus, 0, 0
        pieces: dict[str, int] = {}
        owners = []
        for name, value in self.subject.model.named_parameters():
            owners.append(name.removeprefix(root).split(".")[0] if name.startswith(root) else name)
            pieces[owners[-1]] = pieces.get(owners[-1], 0) + value.nbytes
        places: dict[str, int] = {}
        for piece, nbytes in pieces.items():
            if filled > 0 and filled + nbytes > share and place < self.gpus - 1:
                place, filled = place + 1, 0
            places[piece] = place
            filled += nbytes
        return [places[owner] for owner in owners]

    def blocks_above(self, names: Iterable[str]) -> int:
        """Blocks that the gradients of these parameters pass: all, where some lie outside the blocks."""
        root = f"{self.subject.paths.blocks}."
        lowest = (int(name.removeprefix(root).split(".")[0]) if name.startswith(root) else 0 for name in names)
        return self.blocks - min(lowest, default=0)


def _shape(linear: modules.Linear) -> tuple[int, int]:
    rows, columns = modules.weight(linear).shape
    return rows, columns
