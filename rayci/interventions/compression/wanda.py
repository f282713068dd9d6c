"""Wanda (arXiv 2306.11695): prune by weight magnitude times input norm, row by row.

    S_ij = |W_ij| · ‖X_j‖₂          (equation 1)

In every output row the int(columns · sparsity) lowest scores are zeroed (stable sort); n:m
zeroes the n lowest of every aligned group of m columns. Statistics are fp32, embeddings and
head stay. Deviations: the authors' code divides Σ x² by the number of sequences, a factor that
changes no order; of equal scores in a group of n:m it leaves the choice to `topk`, ours takes the
first; a routed expert without a calibration token is pruned by weights alone, and the receipt says so.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from rayci.context import Context
from rayci.errors import InterventionError
from rayci.intervention import Receipt
from rayci.interventions.compression import masks
from rayci.interventions.compression.calibration import Calibrated
from rayci.interventions.compression.lowest import lowest_in_group, lowest_in_row
from rayci.interventions.compression.pruner import Pruner
from rayci.interventions.compression.walk import BlockInputs, walk
from rayci.model import modules
from rayci.subject import Subject


def scores(weight: Tensor, square_sums: Tensor) -> Tensor:
    """|W| · ‖x‖₂, fp32 `[out, in]`; `square_sums` holds Σ x² of every input channel, `[in]`."""
    return weight.float().abs() * square_sums.float().sqrt()


class Wanda(Pruner, Calibrated):
    """Pruning by weights and activations."""

    name: ClassVar[str] = "wanda"
    paper: ClassVar[str] = "arXiv 2306.11695 (2023)"
    keeps_values: ClassVar[bool] = True

    def apply(self, subject: Subject, context: Context) -> Receipt:
        tokens = self.calibration(subject, context)
        kept: dict[str, Tensor] = {}
        retries: list[str] = []
        for inputs in walk(subject, tokens, self.forward_batch):
            kept |= self._prune(inputs, retries)
        return self.receipt(subject, kept, {"sequences": len(tokens), "tokens": tokens.numel()}, retries)

    def _prune(self, inputs: BlockInputs, retries: list[str]) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}

        def add(path: str, x: Tensor) -> None:
            sums[path] = sums.get(path, 0) + x.float().square().sum(0)

        inputs.observe(add)
        kept = {}
        for group in inputs.groups:
            if group[0] not in sums:
                retries.append(inputs.white(self.name, group[0]))
                sums[group[0]] = torch.ones_like(modules.weight(modules.linear(inputs.block, group[0]))[0])
            if not bool(torch.isfinite(sums[group[0]]).all()):
                raise InterventionError(f"wanda: activations into {inputs.name}.{group[0]} are not finite")
            for path in group:
                weight = modules.weight(modules.linear(inputs.block, path))
                values = scores(weight, sums[group[0]])
                mask = lowest_in_group(values, *self.ratio) if self.ratio else lowest_in_row(values, self.sparsity)
                weight[mask] = 0
                kept[f"{inputs.name}.{path}"] = masks.pack(mask)
        return kept
