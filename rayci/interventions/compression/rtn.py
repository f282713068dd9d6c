"""RTN: round every weight to the nearest level of its group, without calibration.

`range: minmax` is the asymmetric group-wise form; `absmax` is the form of "Catastrophic failure
of LLM unlearning via quantization" (arXiv 2410.16454): Δ = max|w| / 2^(N−1), per tensor, per
output channel or per group, the code clamped to [−2^(N−1), 2^(N−1) − 1]. Deviation: a
constant group, by whose range of 0 the formulas would divide, is met exactly. `grid`: a number format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from rayci.context import Context
from rayci.effort import Effort
from rayci.intervention import Receipt
from rayci.interventions.compression.any_grid import AnyGrid
from rayci.interventions.compression.grid import Even, Grid, absmax, asymmetric
from rayci.interventions.compression.kept_grids import keep
from rayci.model import modules
from rayci.subject import Subject
from rayci.workload import Workload


class RoundToNearest(AnyGrid):
    """Round-to-nearest quantisation of all linears in the decoder blocks."""

    name: ClassVar[str] = "rtn"
    paper: ClassVar[str] = "baseline; absmax arXiv 2410.16454 (2024)"
    seeded: ClassVar[bool] = False

    range: Literal["minmax", "absmax", "absmax_tensor"] = "minmax"
    """How a group's levels are laid; `absmax_tensor` takes one maximum for the whole matrix."""

    def void_settings(self) -> Mapping[str, str]:
        whole = "one maximum for the whole matrix (range = absmax_tensor) has no groups"
        return {"group_size": whole} if self._one_group else super().void_settings()

    def even(self) -> Even:
        half = 2 ** (self.bits - 1)
        return super().even() if self.range == "minmax" else Even(-half, half - 1)

    def nominal_bits(self) -> float:
        return float(self.bits) if self._one_group else super().nominal_bits()

    def operations(self, work: Workload) -> Effort:
        return work.pass_operations()

    def memory(self, work: Workload) -> int:
        return work.pass_bytes()

    def apply(self, subject: Subject, context: Context) -> Receipt:
        kept: dict[str, Tensor] = {}
        for name, module in subject.linears(placed=True):
            grid = self._grid(name, modules.weight(module))
            self.refuse_infinite(name, grid)
            self.write(subject, module, grid)
            kept |= keep(name, grid)
        return self.receipt(subject, kept)

    def group(self, name: str, columns: int) -> int:
        return columns if self._one_group else super().group(name, columns)

    @property
    def _one_group(self) -> bool:
        return self.format is None and self.range == "absmax_tensor"

    def _grid(self, name: str, weight: Tensor) -> Grid:
        group = self.group(name, weight.shape[1])
        if self.format is not None:
            return self.format.lay(weight, group)
        if self.range == "minmax":
            return asymmetric(weight, self.bits, group)
        return absmax(weight, self.bits, group, per_tensor=self.range == "absmax_tensor")
