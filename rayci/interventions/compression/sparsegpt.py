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
from rayci.interventions.compression.alike import rows_of, stacked, unstacked
from rayci.interventions.compression.columns import Settled, sweep
from rayci.interventions.compression.hessian import Curvature, SecondOrder, factors
from rayci.interventions.compression.lowest import lowest_in_group, lowest_in_matrix
from rayci.interventions.compression.pruner import Pruner
from rayci.interventions.compression.replay import Run
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
        self.rows, self.sparsity, self.ratio, self.parity = rows, sparsity, ratio, parity
        self.pivots = factor.diagonal(dim1=-2, dim2=-1).movedim(-1, 0).unsqueeze(-1)
        self.mask = torch.zeros(*self.pivots.shape[:-1], sum(rows), dtype=torch.bool, device=factor.device)
        """True = pruned, `[in, …, out]`; `rows` of it belong to one linear each."""

    def begin(self, start: int, columns: Tensor, block: Tensor) -> Settled:
        """The mask of the block, which n:m fills on the way, and U_jj of its columns."""
        whole = slice(start, start + len(block))
        mask, pivots = self.mask[whole], self.pivots[whole]
        if self.ratio is None:
            parts = _scores(block, pivots).split(self.rows, dim=-2)
            lowest = [lowest_in_matrix(part, self.sparsity, parity=self.parity) for part in parts]
            mask.copy_(torch.cat(lowest, dim=-2).movedim(-1, 0))
        return mask, pivots

    def choose(self, offset: int, block: Tensor, settled: Settled) -> Tensor:
        mask, pivots = settled
        if self.ratio and offset % self.ratio[1] == 0:
            n, m = self.ratio
            group = slice(offset, offset + m)
            scores = _scores(block[group], pivots[group])
            mask[group] = lowest_in_group(scores.contiguous(), n, m).movedim(-1, 0)
        return block[offset].masked_fill(mask[offset], 0)


def _scores(columns: Tensor, pivots: Tensor) -> Tensor:
    """w²/U_jj², `[…, out, columns]`."""
    return (columns.square() / pivots.square()).movedim(0, -1)


class SparseGPT(Pruner, SecondOrder):
    """Pruning with error feedback."""

    name: ClassVar[str] = "sparsegpt"
    paper: ClassVar[str] = "arXiv 2301.00774 (2023)"

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

    def compress(
        self, subject: Subject, weights: Mapping[str, Tensor], curvatures: list[Curvature], run: Run
    ) -> dict[str, Tensor]:
        factor = factors(curvatures)
        dead = torch.stack([curvature.dead for curvature in curvatures]).unsqueeze(-2)
        own = weights.values()
        dense = stacked(own, len(curvatures)).masked_fill_(dead, 0)
        rule = Saliency(factor, rows_of(own, len(curvatures)), self.sparsity, self.ratio, parity=self.parity)
        pruned = sweep(dense, factor, self.block_size, rule, run)
        gone = rule.mask.movedim(0, -1) | dead
        kept = {}
        for (name, weight), values, mask in zip(
            weights.items(), unstacked(pruned, own), unstacked(gone, own), strict=True
        ):
            weight.copy_(values)
            kept[name] = masks.pack(mask)
        return kept
