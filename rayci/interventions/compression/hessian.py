"""Second-order compressors: Hessians of shared inputs, their inverse factors, damping retries.

    H = (2 / #sequences) Σ x xᵀ        the Hessian of ‖(W − Ŵ) X‖², the same for every output row

Linears that read the same input share H and its factor. Dead input channels (H_jj = 0) get
H_jj = 1 and zero weights. Damping adds damping · mean(diag H) to the diagonal; where the
result has no finite Cholesky factor it is raised tenfold, three times.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from rayci.context import Context
from rayci.errors import InterventionError
from rayci.intervention import Receipt
from rayci.interventions.compression.calibration import Calibrated
from rayci.interventions.compression.walk import BlockInputs, walk
from rayci.interventions.gram import Gram
from rayci.model import modules
from rayci.subject import Subject
from rayci.workload import Workload

RETRIES = 3
"""Attempts with ten times the damping before the stage fails."""


def inverse_factor(hessian: Tensor, damping: float) -> Tensor | None:
    """Upper Cholesky factor of (H + damping · mean(diag H) · I)⁻¹, or None where there is no finite one."""
    damped = hessian.clone()
    damped.diagonal().add_(damping * hessian.diagonal().mean())
    lower, failed = torch.linalg.cholesky_ex(damped)
    if int(failed) or not bool(torch.isfinite(lower).all()):
        return None
    upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    return None if int(failed) or not bool(torch.isfinite(upper).all()) else upper


def objective(delta: Tensor, hessian: Tensor) -> float:
    """tr(ΔW H ΔWᵀ): what second-order methods minimise, up to a constant factor."""
    return float((delta.double() @ hessian.double() * delta.double()).sum())


def hessians(inputs: BlockInputs) -> dict[str, Tensor]:
    """H of every group of linears with one input, by the group's first path, fp32 `[in, in]`.

    Sequences are added one by one in the authors' order, whatever the batch of the forward pass.
    The tokens of a routed expert have no sequences: they are added in runs of that length at most,
    and its H is scaled by their number. An expert without a token has no entry.
    """
    grams: dict[str, Gram] = {}
    counts: Counter[str] = Counter()
    length = inputs.batches[0][0].shape[1]

    def add(path: str, x: Tensor) -> None:
        if path not in grams:
            grams[path] = Gram(x.shape[1], x.device)
        for sequence in x.split(length):
            count = counts[path] = counts[path] + 1
            grams[path].add(sequence, share=2 / count, keep=(count - 1) / count)

    inputs.observe(add)
    return {path: gram.total for path, gram in grams.items()}


@dataclass
class Curvature:
    """H of one group of linears, ready for the sweep."""

    where: str
    """Names of the linears, for messages."""
    hessian: Tensor
    """fp32 `[in, in]`, 1 on the diagonal of dead channels."""
    dead: Tensor
    """bool `[in]`."""
    damping: float
    retries: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, where: str, hessian: Tensor, damping: float) -> Curvature:
        """Takes over `hessian` and writes dead channels into it."""
        dead = hessian.diagonal() == 0
        hessian.diagonal()[dead] = 1
        return cls(where, hessian, dead, damping)

    def factor(self, order: Tensor | None = None) -> Tensor:
        """The inverse factor, with the channels in `order` where one is given.

        Raises InterventionError where even 1000 times the damping does not help.
        """
        hessian = self.hessian if order is None else self.hessian[order][:, order]
        damping = self.damping
        for _ in range(RETRIES + 1):
            factor = inverse_factor(hessian, damping)
            if factor is not None:
                return factor
            self.retries.append(f"{self.where}: damping {damping:g} gave no finite factor, {damping * 10:g} was tried")
            damping *= 10
        finite = bool(torch.isfinite(hessian).all())
        raise InterventionError(
            f"the Hessian of {self.where} is not {'positive definite' if finite else 'finite'}, "
            f"tried with damping {self.damping:g} to {damping / 10:g}"
        )


class SecondOrder(Calibrated):
    """A compressor that replaces weights column by column and makes up for it in later columns."""

    damping: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Share of the mean diagonal of H that is added to the diagonal; arXiv 2210.17323, section 3.3."""
    block_size: Annotated[int, Field(ge=1)] = 128
    """Columns that are updated at once; thresholds and group ranges are read at block borders, so
    it changes the result. Published: 128."""

    def operations(self, work: Workload) -> float:
        """Calibration, then for every linear a Hessian, its factors, and errors passed on to every later column."""
        tokens = self.sequences * self.window(work.context)
        own = (2.0 * tokens * columns**2 + 2.0 * columns**3 + rows * columns**2 for rows, columns in work.linears)
        return super().operations(work) + sum(own)

    def memory(self, work: Workload) -> int:
        """A block's Hessians; a batch and its products, or four matrices of a factor and a group in fp32."""
        observing = self.batch_bytes(work) + 8 * work.inner**2
        sweeping = 4 * 4 * work.inner**2 + 24 * work.widest
        return self.held_bytes(work) + 4 * work.gram + max(observing, sweeping)

    @abstractmethod
    def compress(self, subject: Subject, weights: Mapping[str, Tensor], curvature: Curvature) -> dict[str, Tensor]:
        """Write compressed `weights` (names -> `[out, in]`, one input for all) in place; what to keep."""

    @torch.no_grad()
    def apply(self, subject: Subject, context: Context) -> Receipt:
        tokens = self.calibration(subject, context)
        kept: dict[str, Tensor] = {}
        retries: list[str] = []
        linears = 0
        for inputs in walk(subject, tokens, self.forward_batch):
            by_group = hessians(inputs)
            for group in inputs.groups:
                kept |= self._compress(subject, inputs, group, by_group.pop(group[0], None), retries)
                linears += len(group)
        return Receipt(
            subject.weight_names(),
            {"sequences": len(tokens), "tokens": tokens.numel(), "linears": linears},
            tuple(retries),
            kept,
        )

    def _compress(
        self,
        subject: Subject,
        inputs: BlockInputs,
        group: tuple[str, ...],
        hessian: Tensor | None,
        retries: list[str],
    ) -> dict[str, Tensor]:
        """Compress linears with one input; what to keep. Nothing of it outlives the call."""
        weights = {f"{inputs.name}.{path}": modules.weight(modules.linear(inputs.block, path)) for path in group}
        if hessian is None:
            retries.append(inputs.white(self.name, group[0]))
            first = next(iter(weights.values()))
            hessian = torch.eye(first.shape[1], device=first.device)
        where = " and ".join([f"{inputs.name}.{group[0]}", *group[1:]])
        curvature = Curvature.of(f"{self.name}: {where}", hessian, self.damping)
        kept = self.compress(subject, weights, curvature)
        retries += curvature.retries
        return kept
