"""RTN: round every weight to the nearest level of its group, without calibration.

`range: minmax` is the asymmetric group-wise form; `absmax` is the form of "Catastrophic failure
of LLM unlearning via quantization" (arXiv 2410.16454): Δ = max|w| / 2^(N−1), per tensor, per
output channel or per group, the code clamped to [−2^(N−1), 2^(N−1) − 1]. Deviation: a
constant group, by whose range of 0 the formulas would divide, is met exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import InterventionError
from rayci.intervention import Receipt
from rayci.interventions.compression.grid import Grid, absmax, asymmetric
from rayci.interventions.compression.quantiser import Quantiser, keep
from rayci.model import modules
from rayci.subject import Subject
from rayci.workload import Workload


class RoundToNearest(Quantiser):
    """Round-to-nearest quantisation of all linears in the decoder blocks."""

    name: ClassVar[str] = "rtn"
    seeded: ClassVar[bool] = False

    range: Literal["minmax", "absmax", "absmax_tensor"] = "minmax"
    """How a group's levels are laid; `absmax_tensor` takes one maximum for the whole matrix."""

    def void_settings(self) -> Mapping[str, str]:
        whole = "one maximum for the whole matrix (range = absmax_tensor) has no groups"
        return {"group_size": whole} if self.range == "absmax_tensor" else {}

    def codes(self) -> tuple[int, int]:
        half = 2 ** (self.bits - 1)
        return (0, 2**self.bits - 1) if self.range == "minmax" else (-half, half - 1)

    def nominal_bits(self) -> float:
        return float(self.bits) if self.range == "absmax_tensor" else super().nominal_bits()

    def operations(self, work: Workload) -> Effort:
        return work.pass_operations()

    def memory(self, work: Workload) -> int:
        return work.pass_bytes()

    def apply(self, subject: Subject, context: Context) -> Receipt:
        kept: dict[str, Tensor] = {}
        for name, module in subject.linears(placed=True):
            grid = self._grid(name, modules.weight(module))
            if not bool(torch.isfinite(grid.scale).all()):
                raise InterventionError(f"rtn: the weights of {name} are not finite")
            self.write(subject, module, grid)
            kept |= keep(name, grid)
        return self.receipt(subject, kept)

    def group(self, name: str, columns: int) -> int:
        return columns if self.range == "absmax_tensor" else super().group(name, columns)

    def _grid(self, name: str, weight: Tensor) -> Grid:
        group = self.group(name, weight.shape[1])
        if self.range == "minmax":
            return asymmetric(weight, self.bits, group)
        return absmax(weight, self.bits, group, per_tensor=self.range == "absmax_tensor")
