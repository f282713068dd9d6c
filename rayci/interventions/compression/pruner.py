"""What every pruner shares: γ as a share or as n:m, the mask it keeps, the bits it claims."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from rayci.context import Context
from rayci.errors import RequestError
from rayci.intervention import DENSE_BITS, Compressor, Receipt, Strength
from rayci.interventions.compression import masks
from rayci.subject import Subject


class Pruner(Compressor):
    """A compressor that zeroes weights; `receipt.kept` maps linears to packed masks, True = pruned."""

    strength: ClassVar[Strength | None] = Strength(
        "sparsity", "share of zeros", 0.0, 1.0, (0.25, 0.35, 0.45, 0.55, 0.65, 0.75)
    )
    prunes: ClassVar[bool] = True

    sparsity: Annotated[float, Field(ge=0, lt=1)]
    """γ: share of the weights that is zeroed."""
    pattern: Annotated[str, Field(pattern=r"^[1-9][0-9]*:[1-9][0-9]*$")] | None = None
    """`n:m` zeroes n of every m columns; set by a strength such as `@2:4`."""

    @model_validator(mode="after")
    def _pattern_fits(self) -> Self:
        if self.ratio:
            n, m = self.ratio
            if n >= m or self.sparsity != n / m:
                raise ValueError(f"pattern {self.pattern} needs n < m and sparsity n/m")
        return self

    @classmethod
    def from_strength(cls, strength: float | str | None) -> dict[str, Any]:
        if isinstance(strength, str) and ":" in strength:
            n, _, m = strength.partition(":")
            if n.isdigit() and m.isdigit() and 0 < int(n) < int(m):
                return {"sparsity": int(n) / int(m), "pattern": strength}
            raise RequestError(f"{cls.name}: sparsity = {strength!r}", allowed="0 ≤ share < 1, or n:m with n < m")
        return super().from_strength(strength)

    @property
    def ratio(self) -> tuple[int, int] | None:
        """n and m of the pattern, where there is one."""
        if self.pattern is None:
            return None
        n, m = map(int, self.pattern.split(":"))
        return n, m

    def nominal_bits(self) -> float:
        return self.sparsity + (1 - self.sparsity) * DENSE_BITS

    def stored_share(self, bits: int, untouched: bool) -> float:
        """What is kept; nothing where the untouched model has it and the receipt the mask."""
        return 0.0 if untouched and self.keeps_values else 1 - self.sparsity

    def measured_bits(self, linear: str, weight: Tensor, receipt: Receipt) -> Tensor:
        pruned = masks.unpack(receipt.kept[linear].to(weight.device), weight.shape)
        return torch.where(pruned & (weight == 0), 1.0, DENSE_BITS)

    def reproject(self, subject: Subject, receipt: Receipt) -> Receipt:
        return masks.reapply(subject, receipt.kept)

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        """Whether m divides the columns of every linear."""
        yield from super().check(subject, context)
        m = self.ratio[1] if self.ratio else 1
        for columns, linear in subject.columns().items():
            if columns % m:
                yield RequestError(
                    f"{self.name}: {linear} has {columns} columns, which groups of {self.pattern} do not fill",
                    allowed=f"multiples of {m}",
                    key=("sparsity",),
                )

    def receipt(
        self, subject: Subject, kept: Mapping[str, Tensor], counts: Mapping[str, float], retries: Iterable[str] = ()
    ) -> Receipt:
        """The receipt of the linears whose masks are kept."""
        return Receipt(subject.weight_names(kept), {**counts, "linears": len(kept)}, tuple(retries), kept)
