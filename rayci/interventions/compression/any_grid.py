"""What quantisers share that round to levels a scale apart, or to the numbers of a format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import model_validator

from rayci.errors import RequestError, nearest
from rayci.interventions.compression.grid import Levels
from rayci.interventions.compression.number_formats import FORMATS, NumberFormat
from rayci.interventions.compression.quantiser import Quantiser
from rayci.model import modules
from rayci.settings import LATER
from rayci.subject import Subject


class AnyGrid(Quantiser):
    """A quantiser with a choice of grids; `@nvfp4` says `bits` and `grid` at once."""

    grid: Annotated[Literal["int", "fp8", "mxfp4", "nvfp4", "nf4"], LATER] = "int"
    """`int`: levels a scale apart; else the numbers of a format times a scale, see `number_formats`. A format decides
    `bits`, and `group_size` where that is not given: −1 for fp8, 32 mxfp4, 16 nvfp4, 64 nf4, of which fp8's and nf4's
    can be others."""

    @model_validator(mode="before")
    @classmethod
    def _take_from_the_format(cls, values: Any) -> Any:
        grid = values.get("grid", "int") if isinstance(values, dict) else "int"
        if grid == "int":
            return values
        if grid not in [*FORMATS]:
            raise ValueError(f"grid = {grid!r}: not one of int, {', '.join(FORMATS)}")
        return {"bits": FORMATS[grid].bits, "group_size": FORMATS[grid].block, **values}

    @model_validator(mode="after")
    def _agree_with_the_format(self) -> Self:
        chosen = self.format
        if chosen is not None and self.bits != chosen.bits:
            raise ValueError(f"bits = {self.bits}, but grid = {chosen.name} has {chosen.bits}; leave bits out")
        if chosen is not None and chosen.fixed and self.group_size != chosen.block:
            raise ValueError(
                f"group_size = {self.group_size}, but grid = {chosen.name} has {chosen.block}; leave group_size out"
            )
        return self

    @classmethod
    def from_strength(cls, strength: float | str | None) -> dict[str, Any]:
        """Bits, or a format's name, with the length of its blocks where that cannot be another."""
        if not isinstance(strength, str):
            return super().from_strength(strength)
        if chosen := FORMATS.get(strength):
            block = {"group_size": chosen.block} if chosen.fixed else {}
            return {"bits": chosen.bits, "grid": strength, **block}
        raise RequestError(
            f"{cls.name}: bits = {strength!r} is neither a number nor a format",
            allowed=f"2 to 8, {', '.join(FORMATS)}",
            hint=nearest(strength, FORMATS),
            key=("bits",),
        )

    @property
    def format(self) -> NumberFormat | None:
        """The number format, None for levels a scale apart."""
        return FORMATS.get(self.grid)

    @property
    def levels(self) -> Levels:
        """The levels of a group."""
        return self.format or self.even()

    @property
    def asked_at(self) -> float | str | None:
        return super().asked_at if self.format is None else self.grid

    def void_settings(self) -> Mapping[str, str]:
        """The settings that lay levels a scale apart."""
        if self.format is None:
            return {}
        said = f"the numbers of {self.grid} lie as they lie"
        return dict.fromkeys(sorted({"range", "symmetric"} & type(self).model_fields.keys()), said)

    def kept_bytes(self, subject: Subject) -> int:
        """The scale of every group, as the format stores it."""
        if self.format is None:
            return super().kept_bytes(subject)
        linears = [module for _, module in subject.linears()]
        bits = self.format.scale_bits * sum(map(self.groups_in, linears)) + self.format.tensor_bits * len(linears)
        return bits // 8

    def nominal_bits(self) -> float:
        """What whole rows or matrices share is left out: how much it is depends on their shapes."""
        if self.format is None:
            return super().nominal_bits()
        return self.format.bits + (0.0 if self.group_size < 0 else self.format.scale_bits / self.group_size)

    def claimed_bits(self, subject: Subject) -> float:
        """All that is stored, over all linears."""
        if self.format is None:
            return super().claimed_bits(subject)
        shapes = [tuple(modules.weight(module).shape) for _, module in subject.linears()]
        weights = sum(rows * columns for rows, columns in shapes)
        return sum(rows * columns * self.bits_of(rows, columns) for rows, columns in shapes) / weights

    def bits_of(self, rows: int, columns: int) -> float:
        """Bits of a weight of a linear with what groups, rows and the matrix share."""
        if self.format is None:
            return super().bits_of(rows, columns)
        group = columns if self.group_size < 0 else self.group_size
        return self.format.bits + self.format.scale_bits / group + self.format.tensor_bits / (rows * columns)
