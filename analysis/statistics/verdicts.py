"""Whether the order matters: what the signed gap of a cell shows, beside all other cells of its table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rayci.analysis.statistics.intervals import LEVEL, Summary, holm
from rayci.analysis.statistics.lost_points import Ends
from rayci.kinds import Scale

MATTERS, DOES_NOT_MATTER, NOT_SHOWN, UNDECIDED = "matters", "does_not_matter", "not_shown", "undecided"

MARGIN = 0.05
"""Share of a criterion's range (of the value, on a logarithm) within which two orders count as equal."""


@dataclass(frozen=True)
class Evidence:
    """What a cell knows of its gap; None everywhere where it has more than two orders, or no value."""

    gap: Summary
    margin: float | None
    """In the criterion's unit; None where its range is open."""
    lost: Ends | None
    """What the gap could be on the whole grid, where points were lost."""
    n_lost: int


def margin_of(scale: Scale, share: float, *, logarithm: bool) -> float | None:
    """The gap below which orders count as equal; None where the range is open."""
    if logarithm:
        return math.log1p(share)
    return None if scale.low is None or scale.high is None else share * (scale.high - scale.low)


def verdicts(cells: Sequence[Evidence]) -> list[tuple[float | None, str | None]]:
    """For each cell of a table p adjusted over all of them (Holm), and what it shows; None without a gap.

    `matters`: adjusted p < .05. `does_not_matter`: two one-sided tests place the gap within the margin. Neither:
    `not_shown`. Lost points decide nothing: where they could turn the answer, it is `undecided`.
    """
    adjusted = holm([cell.gap.p for cell in cells])
    return [(p, _verdict(cell, p)) for cell, p in zip(cells, adjusted, strict=True)]


def _verdict(cell: Evidence, p: float | None) -> str | None:
    mean = cell.gap.mean
    if mean is None:
        return UNDECIDED if cell.n_lost else None
    if p is not None and p < LEVEL:
        turned = cell.lost is None or cell.lost[0] * mean <= 0 or cell.lost[1] * mean <= 0
        return UNDECIDED if cell.n_lost and turned else MATTERS
    if cell.margin is not None and cell.gap.within(cell.margin):
        beyond = cell.lost is None or max(abs(end) for end in cell.lost) > cell.margin
        return UNDECIDED if cell.n_lost and beyond else DOES_NOT_MATTER
    return UNDECIDED if cell.n_lost else NOT_SHOWN
