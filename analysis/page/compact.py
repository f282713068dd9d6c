"""Numbers and texts as they stand in the report's data: five digits, no NaN, every long text once."""

from __future__ import annotations

import math
from collections.abc import Iterable

Number = float | str | None
"""A finite number, `Infinity` or `-Infinity` (JSON has no infinity, JavaScript reads these), or None."""


def number(value: float | None) -> Number:
    """The value to five significant digits; None where there is none."""
    if value is None or math.isnan(value):
        return None
    return float(f"{value:.5g}") if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def numbers(values: Iterable[float | None]) -> list[Number]:
    """Every value as `number` has it."""
    return [number(value) for value in values]


class Texts:
    """Texts that many entries of the data share; an entry holds the place of its text."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        """Where the text stands in `held`."""
        return self._places.setdefault(text, len(self._places))

    @property
    def held(self) -> list[str]:
        """Every text once, each at its place."""
        return list(self._places)
