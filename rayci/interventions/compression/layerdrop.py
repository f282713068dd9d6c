"""Layer removal (ShortGPT, arXiv 2403.03853): the decoder blocks that change hidden states least are dropped.

    BI_i = 1 − mean over tokens of cos(h_i, h_{i+1})      (block influence, equation 1)

h_i are the hidden states that block i reads, on calibration text through the model as it is. The `blocks` lowest go
at once, as in the paper: influences are not measured again in between. A block is dropped by zeroing its linears,
weights and biases: attention and MLP then add nothing, so the states pass as if the block were not there. Zeros in the
projections at their ends, o_proj and down_proj, would do for that; with the others no gradient reaches a weight of the
block (a bias at the ends can still move), so that training goes on as on the shallower model, and what the block costs
can be read from its weights: 0 bits each, and no operations. An editor that writes into a dropped block changes nothing
there, or fails as MEMIT does, whose keys are 0.

Deviations: the authors' influence of the last block includes the final norm, ours is the block's own; a state of length
0 has cosine 0 here, 0.5 in their code. Their windows of 256 tokens are the default; they read PG-19, we the calibration
text. A block that normalises its sum once more (as OPT-350m's) would not pass its input on, and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import InterventionError, RequestError
from rayci.intervention import DENSE_BITS, Receipt, Strength
from rayci.interventions.compression.calibration import Calibrated
from rayci.interventions.compression.walk import BlockInputs, walk
from rayci.model import modules
from rayci.model.experts import Expert
from rayci.subject import Subject
from rayci.workload import Workload


def influence(before: Tensor, after: Tensor) -> Tensor:
    """1 − cos of each token's states `[…, hidden]` before and after a block, fp32 `[…]`."""
    return 1 - F.cosine_similarity(before.float(), after.float(), dim=-1)


class LayerDrop(Calibrated):
    """Removal of the decoder blocks with the least influence on hidden states."""

    name: ClassVar[str] = "layerdrop"
    paper: ClassVar[str] = "arXiv 2403.03853 (2024)"
    strength: ClassVar[Strength | None] = Strength("blocks", "decoder blocks dropped", 1, 1000, (1, 3, 5, 7, 9))
    keeps_values: ClassVar[bool] = True
    prunes: ClassVar[bool] = True
    longest: ClassVar[int] = 256

    blocks: Annotated[int, Field(ge=1, le=1000)]
    """γ: decoder blocks that are dropped, fewer than the model has; published: 9 of Llama-2-7B's 32."""
    length: Annotated[int, Field(ge=2)] | None = None
    """Tokens of a sequence; by default min(context, 256), the windows of the authors' code."""

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        """Whether a block is left."""
        yield from super().check(subject, context)
        known = len(subject.blocks)
        if self.blocks >= known:
            yield RequestError(
                f"{self.name}: {self.blocks} of {known} blocks leave none", allowed=f"1 to {known - 1}", key=("blocks",)
            )

    def changes(self, subject: Subject) -> tuple[str, ...]:
        """Weights and biases of all linears: which blocks go is not known yet."""
        return _parameters(subject, [subject.paths.blocks])

    def kept_bytes(self, subject: Subject) -> int:
        """The influence of each dropped block, an fp32 number."""
        return 4 * self.blocks

    def stored_share(self, bits: int, untouched: bool) -> float:
        """Nothing where the untouched model has what is left."""
        return 0.0 if untouched else 1.0

    def operations(self, work: Workload) -> Effort:
        """One pass of the text, and its states read once more between two blocks."""
        tokens, passes = self.sequences * self.window(work.context), self.sequences / self.forward_batch
        comparing = Effort(moved=2.0 * work.blocks * tokens * work.hidden * (work.element + 4))
        return work.forward_operations(tokens, passes=passes, logits=False) + comparing

    def nominal_bits(self) -> float:
        """Those of a weight that is left."""
        return DENSE_BITS

    def dropped_share(self, subject: Subject, receipt: Receipt) -> float:
        """Of the weights of all linears."""
        sizes = {name: modules.weight(module).numel() for name, module in subject.linears()}
        return sum(size for name, size in sizes.items() if _inside(name, receipt.kept)) / sum(sizes.values())

    def measured_bits(self, linear: str, weight: Tensor, receipt: Receipt) -> Tensor:
        gone = (weight == 0) & _inside(linear, receipt.kept)
        return torch.full_like(weight, DENSE_BITS, dtype=torch.float32).masked_fill_(gone, 0)

    @torch.no_grad()
    def apply(self, subject: Subject, context: Context) -> Receipt:
        tokens = self.calibration(subject, context)
        found = {inputs.name: _mean_influence(inputs) for inputs in walk(subject, tokens, self.forward_batch)}
        lowest = sorted(found, key=found.__getitem__)[: self.blocks]
        influences = {f"{block}.influence": value for block, value in found.items()}
        counts = {"sequences": len(tokens), "tokens": tokens.numel(), **influences}
        return _drop(subject, {block: torch.tensor(found[block]) for block in lowest}, counts)

    def reproject(self, subject: Subject, receipt: Receipt) -> Receipt:
        return _drop(subject, receipt.kept, {})


def _mean_influence(inputs: BlockInputs) -> float:
    """BI of a block, whose outputs take the place of its inputs.

    InterventionError where it is not finite, or where the first block would not pass its input on once it is dropped.
    """
    if inputs.index == 0 and not _passes_on(inputs):
        raise InterventionError(
            f"layerdrop: {inputs.name} changes its input even where its linears give zeros (a norm of the sum?), "
            "so that zeros do not drop it"
        )
    sums: list[Tensor] = []
    inputs.advance(lambda before, after: sums.append(influence(before, after).sum(dtype=torch.float64)))
    mean = float(sum(sums)) / sum(states.shape[:2].numel() for states, _ in inputs.batches)
    if not math.isfinite(mean):
        raise InterventionError(f"layerdrop: hidden states around {inputs.name} are not finite")
    return mean


def _passes_on(inputs: BlockInputs) -> bool:
    """Whether the first batch passes a block unchanged where all of its linears give zeros."""
    linears = [modules.linear(inputs.block, path) for group in inputs.groups for path in group]
    with ExitStack() as hooks:
        for module in {linear.experts if isinstance(linear, Expert) else linear for linear in linears}:
            hooks.callback(module.register_forward_hook(lambda _, __, output: torch.zeros_like(output)).remove)
        return torch.equal(next(inputs.outputs()), inputs.batches[0][0])


@torch.no_grad()
def _drop(subject: Subject, blocks: Mapping[str, Tensor], counts: Mapping[str, float]) -> Receipt:
    """Zero the linears of these blocks; the receipt keeps name -> influence."""
    for name, module in subject.linears(placed=True):
        if _inside(name, blocks):
            modules.weight(module).zero_()
            if (bias := modules.bias(module)) is not None:
                bias.zero_()
    return Receipt(_parameters(subject, blocks), {"blocks": len(blocks), **counts}, kept=blocks)


def _parameters(subject: Subject, roots: Iterable[str]) -> tuple[str, ...]:
    """Names of the weights and biases of the linears below these modules."""
    linears = [(name, module) for name, module in subject.linears() if _inside(name, roots)]
    biases = [f"{name}.bias" for name, module in linears if modules.bias(module) is not None]
    return (*subject.weight_names(name for name, _ in linears), *biases)


def _inside(name: str, roots: Iterable[str]) -> bool:
    return name.startswith(tuple(f"{root}." for root in roots))
