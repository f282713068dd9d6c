"""What the weights cost, measured on the weights: zeros, bits, and the bits that are claimed.

None has per-item values: each is one look at all weights.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from rayci.context import Context
from rayci.criterion import Criterion, Reading
from rayci.intervention import DENSE_BITS
from rayci.kinds import Direction, Scale
from rayci.model import modules
from rayci.subject import Subject
from rayci.workload import Workload


class _OfWeights(Criterion):
    def operations(self, work: Workload) -> float:
        return work.pass_operations()

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

    Each applied compressor says which weights still are on its mask (an exact zero: 1 bit) or on
    its grid (a whole group: bits + 32/group); what none of them holds counts 16. Counting the
    distinct levels of a group would not do: 128 dense weights have fewer than 2⁸ of them.
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
        bits, zeros = DENSE_BITS, 0.0
        for compressor, _ in subject.compressors():
            if compressor.prunes:
                zeros = max(zeros, compressor.gamma or 0.0)
            else:
                bits = compressor.nominal_bits()
        return Reading(zeros + (1 - zeros) * bits, sum(modules.weight(m).numel() for _, m in subject.linears()))
