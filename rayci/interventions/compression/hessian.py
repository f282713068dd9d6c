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
from rayci.effort import Effort
from rayci.errors import InterventionError
from rayci.intervention import Receipt
from rayci.interventions.compression.alike import Group, alike, together
from rayci.interventions.compression.calibration import Calibrated
from rayci.interventions.compression.replay import Replays, Run
from rayci.interventions.compression.walk import BlockInputs, walk
from rayci.interventions.gram import Gram
from rayci.model import modules
from rayci.settings import Speed
from rayci.subject import Subject
from rayci.workload import Workload

RETRIES = 3
"""Attempts with ten times the damping before the stage fails."""
COLUMN_CALLS = 0.1
"""What the calls of a column of a linear take, in those of a decoder block: some dozen small ones."""


def inverse_factor(hessian: Tensor, damping: float) -> Tensor | None:
    """Upper Cholesky factor of (H + damping · mean(diag H) · I)⁻¹ of every H in `[…, in, in]`.

    None where one of them has no finite factor.
    """
    damped = hessian.clone()
    diagonal = damped.diagonal(dim1=-2, dim2=-1)
    diagonal.add_(damping * diagonal.mean(-1, keepdim=True))
    lower, failed = torch.linalg.cholesky_ex(damped)
    if bool(failed.any()) or not bool(torch.isfinite(lower).all()):
        return None
    upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    return None if bool(failed.any()) or not bool(torch.isfinite(upper).all()) else upper


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
        gram = grams.setdefault(path, Gram(x.shape[1], x.device))
        for sequence in x.split(length):
            count = counts[path] = counts[path] + 1
            gram.add(sequence, share=2 / count, keep=(count - 1) / count)

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

    def ordered(self, order: Tensor | None) -> Tensor:
        """H with the channels in `order`, where one is given."""
        return self.hessian if order is None else self.hessian[order][:, order]

    def factor(self, order: Tensor | None = None) -> Tensor:
        """The inverse factor, with the channels in `order` where one is given.

        Raises InterventionError where even 1000 times the damping does not help.
        """
        hessian = self.ordered(order)
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


def factors(curvatures: list[Curvature], orders: Tensor | None = None) -> Tensor:
    """The inverse factor of each, `[groups, in, in]`: at once, or one by one where one needs more damping."""
    ordered = list(zip(curvatures, [None] * len(curvatures) if orders is None else orders, strict=True))
    if len(curvatures) > 1:
        stack = torch.stack([curvature.ordered(order) for curvature, order in ordered])
        found = inverse_factor(stack, curvatures[0].damping)
        if found is not None:
            return found
    return torch.stack([curvature.factor(order) for curvature, order in ordered])


class SecondOrder(Calibrated):
    """A compressor that replaces weights column by column and makes up for it in later columns."""

    damping: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Share of the mean diagonal of H that is added to the diagonal; arXiv 2210.17323, section 3.3."""
    block_size: Annotated[int, Field(ge=1)] = 128
    """Columns that are updated at once; thresholds and group ranges are read at block borders, so
    it changes the result. Published: 128."""
    solve_batch: Annotated[int, Speed(), Field(ge=1)] = 16
    """Groups of linears with equal shapes, as routed experts are, that are solved together, large ones fewer at
    a time; changes speed and memory only."""

    def operations(self, work: Workload) -> Effort:
        """Calibration, then for every input a Hessian, its factors, and errors passed on to every later column."""
        tokens = self.sequences * self.window(work.context)
        own = (
            Effort(
                loaded=2.0 * tokens * share * columns**2,
                fp32=4 / 3 * columns**3 + rows * columns**2,
                # Experts, which see a share of the tokens each, are swept together.
                blocks=COLUMN_CALLS * columns / (together([(rows, columns)], self.solve_batch) if share < 1 else 1),
            )
            for rows, columns, share in work.inputs
        )
        return sum(own, super().operations(work))

    def memory(self, work: Workload) -> int:
        """A block's Hessians; a batch, a sequence in fp32 and its product, or what is solved together in fp32: five
        matrices of a factor and six copies of the weights, of which a recorded loop takes less than two."""
        window = self.window(work.context)
        observing = work.forward_bytes(self.forward_batch * window) + 8 * window * work.inner + 8 * work.inner**2
        solving = 0
        for shapes, count in Counter(map(tuple, work.groups)).items():
            weights = sum(rows * columns for rows, columns in shapes)
            at_once = min(count, together(shapes, self.solve_batch))
            solving = max(solving, at_once * (20 * shapes[0][1] ** 2 + 24 * weights))
        return self.held_bytes(work) + 4 * work.gram + max(observing, solving)

    @abstractmethod
    def compress(
        self, subject: Subject, weights: Mapping[str, Tensor], curvatures: list[Curvature], run: Run
    ) -> dict[str, Tensor]:
        """Write compressed `weights` in place; what to keep.

        They are names -> `[out, in]` of groups of linears with one input, group after group, all of equal
        shapes; each group has a curvature. `run` calls the sweep's work inside a block.
        """

    @torch.no_grad()
    def apply(self, subject: Subject, context: Context) -> Receipt:
        tokens = self.calibration(subject, context)
        run = Replays()
        kept: dict[str, Tensor] = {}
        retries: list[str] = []
        linears = 0
        for inputs in walk(subject, tokens, self.forward_batch):
            by_group = hessians(inputs)
            for groups in alike(inputs, self.solve_batch):
                kept |= self._solve(subject, inputs, groups, by_group, run, retries)
                linears += sum(map(len, groups))
        return Receipt(
            subject.weight_names(),
            {"sequences": len(tokens), "tokens": tokens.numel(), "linears": linears},
            tuple(retries),
            kept,
            tuple(f"{self.name}: {note}" for note in run.notes),
        )

    def _solve(
        self,
        subject: Subject,
        inputs: BlockInputs,
        groups: list[Group],
        by_group: dict[str, Tensor],
        run: Run,
        retries: list[str],
    ) -> dict[str, Tensor]:
        """Compress groups of equal shapes, whose Hessians leave `by_group`; what to keep."""
        curvatures = [self._curvature(inputs, group, by_group.pop(group[0], None), retries) for group in groups]
        paths = [path for group in groups for path in group]
        weights = {f"{inputs.name}.{path}": modules.weight(modules.linear(inputs.block, path)) for path in paths}
        kept = self.compress(subject, weights, curvatures, run)
        retries += [retry for curvature in curvatures for retry in curvature.retries]
        return kept

    def _curvature(self, inputs: BlockInputs, group: Group, hessian: Tensor | None, retries: list[str]) -> Curvature:
        """What the sweep of linears with one input needs; white inputs for an expert without a token."""
        if hessian is None:
            retries.append(inputs.white(self.name, group[0]))
            weight = modules.weight(modules.linear(inputs.block, group[0]))
            hessian = torch.eye(weight.shape[1], device=weight.device)
        where = " and ".join([f"{inputs.name}.{group[0]}", *group[1:]])
        return Curvature.of(f"{self.name}: {where}", hessian, self.damping)
