"""What a chain must reach, `wmdp<=0.30`, and what is wanted beyond: read from text, judged on values with intervals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rayci.analysis.answering.chains import Ending
from rayci.errors import RequestError, nearest
from rayci.kinds import Direction, Scale

_NEED = re.compile(r"(?P<quantity>.+?)(?P<sign><=|>=|≤|≥)(?P<bound>[^<>=≤≥]+)")
_SIZE = re.compile(r"abs\((.+)\)|\|(.+)\|")
_TOLERANCE = 1e-9
"""Share of a bound by which a value may miss it: a mean of 0.3s need not be 0.3 to the last bit."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and the ends of its 95 % interval; None where they are not known."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Quantity:
    """A criterion, or its size: how far it is from 0."""

    criterion: str
    size: bool
    scale: Scale

    def __str__(self) -> str:
        return f"abs({self.criterion})" if self.size else self.criterion

    @property
    def exact(self) -> bool:
        """Measured on the weights, so that there is nothing to be unsure of."""
        return self.scale.direction is Direction.NONE

    def of(self, ending: Ending | None) -> Estimate:
        """The quantity at the end of a chain; its interval ends where the criterion's range does."""
        if ending is None or ending.mean is None:
            return Estimate(None, None, None)
        mean, low, high = ending.mean, ending.summary.low, ending.summary.high
        if self.exact:
            low = high = mean
        if low is None or high is None:
            return Estimate(abs(mean) if self.size else mean, None, None)
        low = low if self.scale.low is None else max(low, self.scale.low)
        high = high if self.scale.high is None else min(high, self.scale.high)
        return Estimate(abs(mean), max(0.0, low, -high), max(-low, high)) if self.size else Estimate(mean, low, high)


@dataclass(frozen=True, slots=True)
class Need:
    """A bound that a quantity must keep."""

    quantity: Quantity
    at_most: bool
    bound: float

    def __str__(self) -> str:
        return f"{self.quantity}{'<=' if self.at_most else '>='}{self.bound:g}"

    def margin(self, value: float) -> float:
        """How far inside of the bound a value is; negative: by how much it misses."""
        margin = self.bound - value if self.at_most else value - self.bound
        return 0.0 if abs(margin) <= _TOLERANCE * max(1.0, abs(self.bound)) else margin

    def met(self, estimate: Estimate) -> bool:
        """Whether the mean keeps the bound."""
        return estimate.mean is not None and self.margin(estimate.mean) >= 0

    def shown(self, estimate: Estimate) -> bool:
        """Whether the whole 95 % interval keeps the bound."""
        end = estimate.high if self.at_most else estimate.low
        return self.met(estimate) and end is not None and self.margin(end) >= 0


@dataclass(frozen=True, slots=True)
class Objective:
    """What is to be as low, or as high, as the needs allow."""

    quantity: Quantity
    minimize: bool

    def __str__(self) -> str:
        return f"{'lowest' if self.minimize else 'highest'} {self.quantity}"

    def cost(self, value: float) -> float:
        """The value turned so that less is better."""
        return value if self.minimize else -value


def need(text: str, scales: Mapping[str, Scale]) -> Need:
    """A need from its text; RequestError where it cannot be read, or names no criterion of the table."""
    match = _NEED.fullmatch(text.strip())
    allowed = "criterion<=number or criterion>=number, such as wmdp<=0.30"
    if match is None:
        raise RequestError(f"cannot read the need {text!r}", at="--need", allowed=allowed)
    try:
        bound = float(match["bound"])
    except ValueError:
        raise RequestError(f"cannot read the number of the need {text!r}", at="--need", allowed=allowed) from None
    if bound - bound != 0:  # NaN, ∞
        raise RequestError(f"the need {text!r} has no bound", at="--need", allowed="a finite number")
    return Need(quantity(match["quantity"], scales, "--need"), match["sign"] in ("<=", "≤"), bound)


def quantity(text: str, scales: Mapping[str, Scale], at: str) -> Quantity:
    """A quantity from its text, `wmdp` or `abs(privleak)`.

    Raises RequestError where the table has no such criterion, and where one that is best at 0 is not named by its size.
    """
    within = _SIZE.fullmatch(text.strip())
    name = (text if within is None else within[1] or within[2]).strip()
    if name not in scales:
        known = ", ".join(scales)
        raise RequestError(f"no criterion {name!r} in the table", at=at, allowed=known, hint=nearest(name, scales))
    scale = scales[name]
    if scale.direction is Direction.ZERO and within is None:
        raise RequestError(
            f"{name} is best at 0, so neither less nor more of it is better", at=at, hint=f"its size, 'abs({name})'"
        )
    return Quantity(name, within is not None, scale)
