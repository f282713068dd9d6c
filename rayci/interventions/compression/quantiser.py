"""What every quantiser shares: bits and groups, the grid it keeps, the bits it claims, kept zeros."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from rayci.context import Context
from rayci.errors import InterventionError, RequestError, caught
from rayci.intervention import DENSE_BITS, Compressor, Receipt, Strength
from rayci.interventions.compression.grid import Even, Grid
from rayci.interventions.compression.kept_grids import restore
from rayci.model import modules
from rayci.subject import Subject

if TYPE_CHECKING:
    from rayci.model.modules import Linear


def whole_row_or_columns(group_size: int) -> int:
    """A valid group size; ValueError for others."""
    if group_size != -1 and group_size < 1:
        raise ValueError("-1 for the whole row, or a number of columns from 1")
    return group_size


class Quantiser(Compressor):
    """A compressor that puts weights on grids; `receipt.kept` holds them as `kept_grids` says."""

    strength: ClassVar[Strength | None] = Strength("bits", "bits per weight", 2, 8, (2, 3, 4, 8))

    bits: Annotated[int, Field(ge=2, le=8)]
    """γ: bits of a code."""
    group_size: Annotated[int, AfterValidator(whole_row_or_columns)] = 128
    """Columns that share a scale; −1 = the whole row. Must divide the columns of every linear."""
    keep_zeros: bool | None = None
    """Whether weights that are exactly 0 stay 0. None: only after a pruner. A fresh grid of `rtn` or
    `awq` holds every 0 that its group has, so there it decides about re-projection alone."""

    @classmethod
    def from_strength(cls, strength: float | str | None) -> dict[str, Any]:
        if isinstance(strength, str):
            raise RequestError(
                f"{cls.name}: bits = {strength!r} is not a number",
                allowed="2 to 8 bits per weight",
                hint="number formats are grids of rtn and gptq",
                key=("bits",),
            )
        return super().from_strength(strength)

    def keeps_zeros(self, subject: Subject) -> bool:
        """Whether exact zeros of this subject stay, whatever the grid."""
        return subject.pruned if self.keep_zeros is None else self.keep_zeros

    def even(self) -> Even:
        """Codes of levels that are a scale apart."""
        return Even(0, 2**self.bits - 1)

    def kept_bytes(self, subject: Subject) -> int:
        """fp32 scale and zero of every group."""
        return sum(8 * self.groups_in(module) for _, module in subject.linears())

    def stored_share(self, bits: int, untouched: bool) -> float:
        """The codes."""
        return self.bits / bits

    def groups_in(self, module: Linear) -> int:
        """Groups of all rows of a linear."""
        rows, columns = modules.weight(module).shape
        return rows * (1 if self.group_size < 0 else max(1, columns // self.group_size))

    def nominal_bits(self) -> float:
        return self.bits + (0.0 if self.group_size < 0 else 32 / self.group_size)

    def bits_of(self, rows: int, columns: int) -> float:
        """Bits that are claimed of the weights of a linear of this shape."""
        return self.nominal_bits()

    def measured_bits(self, linear: str, weight: Tensor, receipt: Receipt) -> Tensor:
        grid = self.grid_in(receipt.kept, linear, weight.device)
        missed = (grid.round(weight).to(weight.dtype) != weight) & (weight != 0)
        columns = grid.group_of_column(weight.shape[1])
        misses = torch.zeros_like(grid.scale).index_add_(1, columns, missed.float())
        return torch.where(misses == 0, self.bits_of(*weight.shape), DENSE_BITS)[:, columns]

    def reproject(self, subject: Subject, receipt: Receipt) -> Receipt:
        for name, module in subject.linears(placed=True):
            self.write(subject, module, self.grid_in(receipt.kept, name, modules.weight(module).device))
        return self.receipt(subject, receipt.kept)

    def before_rounding(self, subject: Subject, block: nn.Module, name: str, receipt: Receipt) -> None:
        """Do to another block of that name, an untouched one, what `apply` did before it rounded; mostly nothing."""

    def receipt(
        self,
        subject: Subject,
        kept: Mapping[str, Tensor],
        counts: Mapping[str, float] | None = None,
        extra: tuple[str, ...] = (),
    ) -> Receipt:
        """The receipt of all linears, and of `extra` parameters."""
        counted = {**(counts or {}), "linears": sum(1 for _ in subject.linears())}
        return Receipt((*subject.weight_names(), *extra), counted, kept=kept)

    def group(self, name: str, columns: int) -> int:
        """Columns of a group of this linear; RequestError where they do not divide."""
        group = columns if self.group_size == -1 else self.group_size
        if group < 1 or columns % group:
            raise RequestError(
                f"{self.name}: group_size {self.group_size} does not divide the {columns} columns of {name}",
                allowed=f"-1, or a divisor of {columns}",
                key=("group_size",),
            )
        return group

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        """Whether `group_size` divides the columns of every linear."""
        yield from super().check(subject, context)
        for columns, linear in subject.columns().items():
            yield from caught(self.group, linear, columns)

    def grid_in(self, kept: Mapping[str, Tensor], linear: str, device: torch.device) -> Grid:
        """The grid that `keep` stored."""
        grid = restore(kept, linear, self.even(), device)
        assert grid is not None
        return grid

    def refuse_infinite(self, linear: str, grid: Grid) -> None:
        """InterventionError where a scale says that the weights it was laid on are not finite."""
        if not bool(torch.isfinite(grid.scale).all()):
            raise InterventionError(f"{self.name}: the weights of {linear} are not finite")

    @torch.no_grad()
    def write(self, subject: Subject, module: Linear, grid: Grid) -> None:
        """Round a linear to its grid, in place; zeros stay where `keeps_zeros` says so."""
        weight = modules.weight(module)
        rounded = grid.round(weight).to(weight.dtype)
        # A fresh grid holds 0 wherever a weight is 0; an old one, laid before the pruner ran again, need not.
        weight.copy_(torch.where(weight == 0, weight, rounded) if self.keeps_zeros(subject) else rounded)
