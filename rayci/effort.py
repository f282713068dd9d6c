"""What a piece of work takes of a device, whichever that is: operations by precision, bytes moved, blocks called."""

from __future__ import annotations

from dataclasses import astuple, dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """Sums of these are sums of work; `float(effort)` are the floating-point operations of all precisions."""

    loaded: float = 0.0
    """Operations in the dtype that the model is loaded in."""
    fp32: float = 0.0
    """Operations in fp32, whatever the model is loaded in."""
    fp64: float = 0.0
    """Operations in float64."""
    moved: float = 0.0
    """Bytes read and written by what is no product: activations, weights that are sorted, rounded or stepped."""
    blocks: float = 0.0
    """Passes of a batch, however small, through one decoder block: what its calls take where numbers are few."""

    @classmethod
    def of(cls, stated: Effort | float) -> Effort:
        """What a method states: a number alone are operations in the dtype of the model."""
        return stated if isinstance(stated, Effort) else cls(loaded=float(stated))

    def __float__(self) -> float:
        return self.loaded + self.fp32 + self.fp64

    def __add__(self, other: Effort | float) -> Effort:
        return Effort(*(a + b for a, b in zip(astuple(self), astuple(Effort.of(other)), strict=True)))

    __radd__ = __add__

    def __mul__(self, times: float) -> Effort:
        return Effort(*(value * times for value in astuple(self)))

    __rmul__ = __mul__

    def __truediv__(self, times: float) -> Effort:
        return self * (1 / times)
