"""Where along γ a metric is read: the area under the curves, or one γ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rayci.analysis.scan.family import Family
from rayci.analysis.scan.variant import Variant
from rayci.errors import RequestError, nearest

At = str | float | Mapping[str, float]
"""`area`, `middle`, `published`, a γ, γ by strength or method name, or one of the last two as text."""

PUBLISHED_POINT = {"sparsity": 0.25, "bits": 4.0}
"""γ of the point tables of arXiv 2407.06483."""

AXES = ("scaled", "gamma", "avg_bits")
"""γ rescaled to [0, 1]; raw γ; measured average bits per weight. The last two are not normalised."""

_ALLOWED = "area, middle, published, a number, or name=number,… such as sparsity=0.25,bits=4"


@dataclass(frozen=True)
class Place:
    """A resolved `at`: `gammas` by name, `gamma` for every axis, or neither for the area."""

    gammas: Mapping[str, float] | None = None
    gamma: float | None = None

    @property
    def is_area(self) -> bool:
        """Whether metrics are integrals over γ."""
        return self.gammas is None and self.gamma is None

    def of(self, axis: Variant) -> float | None:
        """γ to read on this axis; None where none was asked for it. A method's name wins over its strength's."""
        if self.gammas is None:
            return self.gamma
        return self.gammas.get(axis.method, self.gammas.get(axis.strength_name or ""))


def place(at: At, families: Iterable[Family]) -> Place:
    """Resolve `at` against the axes that a table has.

    Raises RequestError for text that cannot be read and for names that no axis bears.
    """
    if at == "area":
        return Place()
    if at == "middle":
        return Place(gammas=middles(families))
    if at == "published":
        return Place(gammas=PUBLISHED_POINT)
    if isinstance(at, str):
        at = _parsed(at)
    if isinstance(at, Mapping):
        gammas = {name: _finite(value) for name, value in at.items()}
        axes = [family.axis for family in families if family.axis]
        known = sorted({name for axis in axes for name in (axis.method, axis.strength_name or "")} - {""})
        for name in gammas:
            if name not in known:
                raise RequestError(
                    f"nothing named {name!r} is swept in the table",
                    allowed=", ".join(known) or "none",
                    hint=nearest(name, known),
                )
        return Place(gammas=gammas)
    return Place(gamma=_finite(at))


def middles(families: Iterable[Family]) -> dict[str, float]:
    """Swept method -> the middle of its γ in the table; of an even number the upper one of the two."""
    swept: dict[str, set[float]] = {}
    for family in families:
        if family.axis is not None:
            swept.setdefault(family.axis.method, set()).update(gamma for gamma in family.grid if gamma is not None)
    return {method: sorted(gammas)[len(gammas) // 2] for method, gammas in swept.items() if gammas}


def check_axis(axis: str) -> str:
    """The axis, or RequestError with those there are."""
    if axis not in AXES:
        raise RequestError(f"no axis {axis!r}", allowed=", ".join(AXES), hint=nearest(axis, AXES))
    return axis


def same(a: float, b: float) -> bool:
    """Whether two values of γ are the same point of a grid (0.1 + 0.2 and 0.3 are)."""
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def _parsed(text: str) -> float | dict[str, float]:
    if "=" not in text:
        return _finite(text)
    gammas = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        gammas[name.strip()] = _finite(value)
    return gammas


def _finite(value: float | str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise RequestError(f"cannot read {value!r} as the γ of a point", allowed=_ALLOWED) from None
    if not math.isfinite(number):
        raise RequestError(f"γ = {value!r} is not a point", allowed=_ALLOWED)
    return number
