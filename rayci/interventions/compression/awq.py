"""AWQ (arXiv 2306.00978): scale the channels that matter, clip, then round to nearest.

1. Per group of linears with one input, the scales whose quantised weights change the output of
   the attention, the MLP or the linear itself least (`awq_scales`); folded into the previous
   norm or linear (`folding`). All groups of a block are searched on its dense weights. The receipt
   keeps them as `<first linear>.fold`.
2. Per row and group of columns, the bound that changes the linear's own output least
   (`awq_clip`), on about `clip_tokens` of the scaled inputs; not for the linears that make q
   and k, whose product is hard to bound. The receipt keeps it as `<linear>.clip`.
3. Scale max(max − min, 1e−5)/(2^b − 1), zero clamp(−round(min/scale), 0, 2^b − 1).

Every block sees the dense blocks' outputs. The default is AutoAWQ's form of the scales, with the
two constants that it adds to the divisors, 1e−6 to the largest |w| of a group and 1e−4 to
w^(1−r); `duo_scaling: false` is that of the authors' repository, which has neither.
Deviations: activations other than ReLU between the MLP's linears (GPT-NeoX, GPT-2) get no
scale of their own, where the authors' code puts a division into the model: ours stays one of
plain linears. The value part of a fused projection is not scaled. Losses of single linears and
of clipping come from Gram matrices, equal to the forward passes up to rounding. A pass over a
part of a block ends with the batch that takes its loss beyond the least one so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import InterventionError, MeasurementError, RequestError, caught
from rayci.intervention import Receipt, Strength
from rayci.interventions.compression.awq_clip import CHUNK, clip, clip_bounds
from rayci.interventions.compression.awq_inputs import AT_ONCE, Observed, look
from rayci.interventions.compression.awq_scales import RATIOS, Quantise, Scaling, relative_magnitude, search
from rayci.interventions.compression.calibration import Calibrated
from rayci.interventions.compression.folding import Fold, check_folds, fold, folded, folds
from rayci.interventions.compression.grid import Grid, activation_aware
from rayci.interventions.compression.kept_grids import keep
from rayci.interventions.compression.quantiser import Quantiser
from rayci.interventions.compression.walk import BlockInputs, walk
from rayci.model import modules
from rayci.subject import Subject
from rayci.workload import Workload


class AWQ(Quantiser, Calibrated):
    """Activation-aware weight quantisation."""

    name: ClassVar[str] = "awq"
    paper: ClassVar[str] = "arXiv 2306.00978 (2023)"
    strength: ClassVar[Strength | None] = Strength("bits", "bits per weight", 2, 8, (2, 3, 4, 5, 6, 8))
    longest: ClassVar[int] = 512
    no_experts: ClassVar[str] = (
        "its scales are folded into the norm before the MLP, which the router reads too, so routing would change"
    )

    length: Annotated[int, Field(ge=2)] | None = None
    """Tokens of a sequence; by default min(context, 512), the published block."""
    symmetric: bool = False
    """Levels around 0 with scale max|w|/(2^(b−1) − 1), in place of levels from min to max."""
    duo_scaling: bool = True
    """Divide x^r by w^(1−r), AutoAWQ's form; off: x^r alone, as in arXiv 2306.00978, equation 5."""
    clip_tokens: Annotated[int, Field(ge=1)] = 512
    """The clip search takes every (tokens // clip_tokens)-th calibration token; published: 512."""

    def changes(self, subject: Subject) -> tuple[str, ...]:
        """What `apply` will change; the subject's weights are not read."""
        places = folds(subject, subject.block(0))
        names = list(subject.weight_names())
        for index, block in enumerate(subject.blocks):
            names += folded(f"{subject.paths.blocks}.{index}", block, places)
        return tuple(names)

    def kept_bytes(self, subject: Subject) -> int:
        """The grids, an fp32 bound of every group that is clipped, and the fp32 scales that are folded."""
        bounds = sum(
            4 * self.groups_in(modules.linear(block, path))
            for block in subject.blocks
            for path in _clipped(subject.paths.groups(block))
        )
        first, norms = subject.block(0), subject.paths.attention_norm and subject.paths.mlp_norm
        places = folds(subject, first) if norms else []  # without them it will fail when it runs
        scaled = [modules.weight(modules.linear(first, place.linears[0])) for place in places]
        scales = len(subject.blocks) * sum(4 * weight.shape[1] for weight in scaled)
        return super().kept_bytes(subject) + bounds + scales

    def operations(self, work: Workload) -> Effort:
        """Calibration, whose two passes become as many more as there are ratios to try."""
        return super().operations(work) * (1 + len(RATIOS) / 2)

    def memory(self, work: Workload) -> int:
        """What is observed of a block, and the larger of a batch and a step of the search."""
        tokens = self.sequences * self.window(work.context)
        calls = 4 * tokens * work.hidden * work.element  # inputs and outputs of attention and MLP
        inputs = 4 * 4 * min(tokens * work.inner, AT_ONCE)  # |x| of four groups, not yet summed
        searching = 20 * work.widest + 40 * min(work.largest, CHUNK)
        return self.held_bytes(work) + calls + inputs + 4 * work.gram + max(self.batch_bytes(work), searching)

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        yield from super().check(subject, context)
        yield from caught(check_folds, subject)

    @torch.no_grad()
    def apply(self, subject: Subject, context: Context) -> Receipt:
        places = folds(subject, subject.block(0))
        tokens = self.calibration(subject, context)
        step = max(1, tokens.numel() // self.clip_tokens)
        kept: dict[str, Tensor] = {}
        counts: dict[str, float] = {"sequences": len(tokens), "tokens": tokens.numel()}
        extra: list[str] = []
        for inputs in walk(subject, tokens, self.forward_batch):
            ratios, grids = self._compress(inputs, places, step)
            counts |= ratios
            kept |= grids
            extra += folded(inputs.name, inputs.block, places)
        return self.receipt(subject, kept, counts, tuple(extra))

    def before_rounding(self, subject: Subject, block: nn.Module, name: str, receipt: Receipt) -> None:
        for place in folds(subject, block):
            scales = receipt.kept.get(f"{name}.{place.linears[0]}.fold")
            if scales is None:
                raise MeasurementError(f"awq's scales of {name} were not kept: an older version applied it")
            fold(block, place, scales.to(modules.weight(modules.linear(block, place.linears[0])).device))
        for path in _clipped(subject.paths.groups(block)):
            weight = modules.weight(modules.linear(block, path))
            weight.copy_(clip(weight, receipt.kept[f"{name}.{path}.clip"].to(weight.device)))

    def grid(self, weight: Tensor) -> Grid:
        """The levels of a weight `[out, in]`."""
        group = self.group("a weight", weight.shape[1])
        return activation_aware(weight, self.bits, group, symmetric=self.symmetric)

    @property
    def _quantise(self) -> Quantise:
        return lambda weight: self.grid(weight).round(weight)

    @torch.no_grad()
    def search(self, observed: Observed, place: Fold) -> Scaling:
        """The best scales of one group; InterventionError where no ratio gives a finite loss."""
        weights = [modules.weight(modules.linear(observed.inputs.block, path)) for path in place.linears]
        group = self.group(place.linears[0], weights[0].shape[1])
        magnitude = relative_magnitude(weights, group) if self.duo_scaling else None
        mean = observed.seen[place.linears[0]].mean
        best = search(weights, mean, magnitude, self._quantise, observed.loss(place))
        if best is None:
            raise InterventionError(f"awq: no scale of {observed.inputs.name}.{place.linears[0]} has a finite loss")
        return best

    def _compress(
        self, inputs: BlockInputs, places: list[Fold], step: int
    ) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Ratios and losses; scales, grids and bounds of one block. Nothing that was observed outlives the call."""
        observed = look(inputs, places, step)
        counts, scales = self._scale(observed, places)
        return counts, {**scales, **self._clip_and_round(observed)}

    def _scale(self, observed: Observed, places: list[Fold]) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Search all groups on the dense block, then fold; ratio and loss of each, and its scales."""
        best = [(place, self.search(observed, place)) for place in places]
        counts: dict[str, float] = {}
        kept: dict[str, Tensor] = {}
        for place, scaling in best:
            fold(observed.inputs.block, place, scaling.scales)
            seen = observed.seen[place.linears[0]]
            seen.samples = [sample / scaling.scales for sample in seen.samples]
            name = f"{observed.inputs.name}.{place.linears[0]}"
            counts |= {f"{name}.ratio": scaling.ratio, f"{name}.loss": scaling.loss}
            kept[f"{name}.fold"] = scaling.scales.cpu()
        return counts, kept

    def _clip_and_round(self, observed: Observed) -> dict[str, Tensor]:
        inputs = observed.inputs
        clipped = _clipped(inputs.groups)
        kept: dict[str, Tensor] = {}
        for paths in inputs.groups:
            sample = observed.seen[paths[0]].sample
            for path in paths:
                weight = modules.weight(modules.linear(inputs.block, path))
                values, name = weight.float(), f"{inputs.name}.{path}"
                if path in clipped:
                    group = self.group(path, weight.shape[1])
                    bounds = clip_bounds(values, sample, group, self._quantise)
                    values = clip(values, bounds)
                    kept[f"{name}.clip"] = bounds.cpu()
                grid = self.grid(values)
                weight.copy_(grid.round(values))
                kept |= keep(name, grid)
        return kept


def _clipped(groups: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """Paths of all linears but those that make queries and keys: of the first group, what is no value projection."""
    attention, *others = groups
    value = attention[-1:] if len(attention) > 1 else ()
    return (*value, *(path for group in others for path in group))
