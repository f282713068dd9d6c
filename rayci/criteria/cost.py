"""What the weights cost, measured on the weights: zeros, bits, the bits that are claimed, operations, changes.

    flops = 2 · Σ weights that a token passes and that are not 0, of the linears in the blocks and the output embeddings

Where a router picks experts, a token passes the share that it picks of each. Attention scores, norms and embeddings
are left out: they grow with the text, or are few. Most have no per-item values: each is one look at all weights.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from rayci.context import Context
from rayci.criterion import Criterion, Reading
from rayci.effort import Effort
from rayci.intervention import DENSE_BITS
from rayci.item_values import Items
from rayci.kinds import Direction, Scale
from rayci.model import modules
from rayci.model.experts import Expert
from rayci.subject import Subject
from rayci.workload import Workload


class _OfWeights(Criterion):
    def operations(self, work: Workload) -> Effort:
        return work.looking_operations()

    def memory(self, work: Workload) -> int:
        return work.pass_bytes()


class Sparsity(_OfWeights):
    """Share of exact zeros among the weights of all linears in the decoder blocks."""

    name: ClassVar[str] = "sparsity"
    scale: ClassVar[Scale] = Scale(Direction.NONE, 0.0, 1.0, None, "share of zeros")

    def measure(self, subject: Subject, context: Context) -> Reading:
        zeros, count = 0, 0
        for _, module in subject.linears(placed=True):
            weight = modules.weight(module)
            zeros += int((weight == 0).sum())
            count += weight.numel()
        return Reading(zeros / count, count)


class AverageBits(_OfWeights):
    """Average bits per weight, measured on the weights as they are now.

    Each applied compressor says which weights still are on its mask (an exact zero: 1 bit; in a block that was
    dropped: none) or on its grid (a whole group: bits + what is stored beside it); what none of them holds counts
    16. Counting the distinct levels of a group would not do: 128 dense weights have fewer than 2⁸ of them.
    """

    name: ClassVar[str] = "avg_bits"
    scale: ClassVar[Scale] = Scale(Direction.NONE, 0.0, None, None, "bits per weight")

    def measure(self, subject: Subject, context: Context) -> Reading:
        total, count = 0.0, 0
        for name, module in subject.linears(placed=True):
            weight = modules.weight(module)
            bits = torch.full(weight.shape, DENSE_BITS, device=weight.device)
            for compressor, receipt in subject.compressors():
                bits = torch.minimum(bits, compressor.measured_bits(name, weight, receipt))
            total += float(bits.double().sum())
            count += weight.numel()
        return Reading(total / count, count)


class NominalBits(_OfWeights):
    """Average bits per weight that the applied compressors claim, whatever came after them."""

    name: ClassVar[str] = "avg_bits_nominal"
    scale: ClassVar[Scale] = Scale(Direction.NONE, 0.0, None, None, "bits per weight")

    def measure(self, subject: Subject, context: Context) -> Reading:
        bits, zeros, dropped = DENSE_BITS, 0.0, 0.0
        for compressor, receipt in subject.compressors():
            if share := compressor.dropped_share(subject, receipt):
                dropped = max(dropped, share)
            elif compressor.prunes:
                zeros = max(zeros, compressor.gamma or 0.0)
            else:
                bits = compressor.claimed_bits(subject)
        claimed = (1 - dropped) * (zeros + (1 - zeros) * bits)
        return Reading(claimed, sum(modules.weight(m).numel() for _, m in subject.linears()))


class Operations(_OfWeights):
    """Floating-point operations of one token: two for each weight that it passes and that is not exactly zero."""

    name: ClassVar[str] = "flops"
    scale: ClassVar[Scale] = Scale(Direction.NONE, 0.0, None, None, "operations per token")

    def measure(self, subject: Subject, context: Context) -> Reading:
        used, count = 0.0, 0
        for _, module in subject.linears(placed=True):
            weight = modules.weight(module)
            used += int((weight != 0).sum()) * _share_passed(subject, module)
            count += weight.numel()
        head: Any = subject.model.get_output_embeddings()
        used += int((head.weight != 0).sum())
        return Reading(2 * used, count + head.weight.numel())


def _share_passed(subject: Subject, module: modules.Linear) -> float:
    """How much of a linear a token passes on average."""
    if not isinstance(module, Expert):
        return 1.0
    chosen: int = subject.model.config.get_text_config().num_experts_per_tok
    return chosen / len(module.experts.get_parameter(module.parameter))


class ParametersChanged(_OfWeights):
    """Share of the model's parameters whose value is not the untouched model's."""

    name: ClassVar[str] = "params_changed"
    scale: ClassVar[Scale] = Scale(Direction.NONE, 0.0, 1.0, None, "share")
    item: ClassVar[str | None] = "parameter tensor"

    def measure(self, subject: Subject, context: Context) -> Reading:
        untouched = subject.base_of(subject.changed())
        differing, sizes = [], []
        for name, value in subject.model.named_parameters():
            sizes.append(value.numel())
            differing.append(int((value != untouched[name].to(value.device)).sum()) if name in untouched else 0)
        shares = (other / size for other, size in zip(differing, sizes, strict=True))
        return Reading(sum(differing) / sum(sizes), sum(sizes), items=Items(tuple(shares), tuple(map(float, sizes))))
