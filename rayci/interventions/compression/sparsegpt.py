"""SparseGPT (arXiv 2301.00774): prune column by column, later columns make up for the loss.

    H = (2 / #sequences) Σ x xᵀ + damping · mean(diag H) · I,   U = chol(H⁻¹)ᵀ
    score_ij = w_ij² / U_jj²                                   (algorithm 1)

Blocks of `block_size` columns; in each, the int(elements · sparsity) lowest scores over all rows
together go. n:m is decided at each group's first column, with weights already updated inside
the block. Dead input channels are zeroed and count as pruned.
Deviations: the authors compare with `<=` the threshold, which prunes one entry a block too many;
ours prunes the count (`parity: true` does as they do). A Hessian without a finite factor is tried
again with more damping, where their code stops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from rayci.context import Context
from rayci.errors import RequestError
from rayci.interventions.compression import masks
from rayci.interventions.compression.columns import sweep
from rayci.interventions.compression.hessian import Curvature, SecondOrder
from rayci.interventions.compression.lowest import lowest_in_group, lowest_in_matrix
from rayci.interventions.compression.pruner import Pruner
from rayci.subject import Subject


class Saliency:
    """The rule of the sweep: zero where w²/U_jj² is lowest, per block or per group of m columns."""

    def __init__(
        self,
        factor: Tensor,
        rows: list[int],
        sparsity: float,
        ratio: tuple[int, int] | None = None,
        *,
        parity: bool = False,
    ) -> None:
        self.diagonal, self.rows = factor.diagonal().unsqueeze(1), rows
        self.sparsity, self.ratio, self.parity = sparsity, ratio, parity
        self.mask = torch.zeros(len(factor), sum(rows), dtype=torch.bool, device=factor.device)
        """True = pruned, `[in, out]`; `rows` of it belong to one linear each."""

    def begin(self, start: int, columns: Tensor, block: Tensor) -> None:
        if self.ratio is None:
            parts = self._scores(start, block).T.split(self.rows)
            lowest = [lowest_in_matrix(part, self.sparsity, parity=self.parity) for part in parts]
            self.mask[start : start + len(block)] = torch.cat(lowest).T

    def choose(self, start: int, offset: int, block: Tensor) -> Tensor:
        if self.ratio and offset % self.ratio[1] == 0:
            n, m = self.ratio
            first = start + offset
            scores = self._scores(first, block[offset : offset + m])
            self.mask[first : first + m] = lowest_in_group(scores.T.contiguous(), n, m).T
        return block[offset].masked_fill(self.mask[start + offset], 0)

    def _scores(self, first: int, part: Tensor) -> Tensor:
        return part.square() / self.diagonal[first : first + len(part)].square()


class SparseGPT(Pruner, SecondOrder):
    """Pruning with error feedback."""

    name: ClassVar[str] = "sparsegpt"

    parity: bool = False
    """Prune all that is `<=` the threshold, as the authors' code does: one entry a block too many.
    Not with a pattern, which their code meets exactly too."""

    def void_settings(self) -> Mapping[str, str]:
        exact = f"pattern {self.pattern} takes n of each group, exactly"
        return {} if self.pattern is None else {"parity": exact}

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        yield from super().check(subject, context)
        if self.ratio and self.block_size % self.ratio[1]:
            yield RequestError(
                f"sparsegpt: groups of {self.pattern} do not fit blocks of {self.block_size} columns",
                allowed=f"block_size: multiples of {self.ratio[1]}",
                key=("block_size",),
            )

    def compress(self, subject: Subject, weights: Mapping[str, Tensor], curvature: Curvature) -> dict[str, Tensor]:
        factor = curvature.factor()
        rows = [len(weight) for weight in weights.values()]
        dense = torch.cat([weight.float() for weight in weights.values()]).masked_fill(curvature.dead, 0)
        rule = Saliency(factor, rows, self.sparsity, self.ratio, parity=self.parity)
        pruned = sweep(dense, factor, self.block_size, rule)
        gone = rule.mask.T | curvature.dead
        parts = zip(weights.items(), pruned.split(rows), gone.split(rows), strict=True)
        kept = {}
        for (name, weight), values, mask in parts:
            weight.copy_(values)
            kept[name] = masks.pack(mask)
        return kept
