"""Whether the order matters: what the signed gaps of a cell show, beside all other cells of its table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rayci.kinds import Scale
from tests.analysis.oracle.intervals import LEVEL, Summary, holm
from tests.analysis.oracle.lost_points import Ends

MATTERS, DOES_NOT_MATTER, NOT_SHOWN, UNDECIDED = "matters", "does_not_matter", "not_shown", "undecided"

MARGIN = 0.05
"""Share of a criterion's range (of the value, on a logarithm) within which two orders count as equal."""


@dataclass(frozen=True)
class Evidence:
    """What a cell knows of its gaps."""

    gaps: tuple[Summary, ...]
    """Of every two orders; none where there is no value."""
    margin: float | None
    """In the criterion's unit; None where its range is open."""
    lost: Ends | None
    """What the gap of two orders could be on the whole grid, where points were lost."""
    n_lost: int

    @property
    def p(self) -> float | None:
        """Of all orders being equal: the smallest p of any two, times how many twos there are (Bonferroni)."""
        known = [gap.p for gap in self.gaps if gap.p is not None]
        return min(1.0, len(self.gaps) * min(known)) if known else None


def margin_of(scale: Scale, share: float, *, logarithm: bool) -> float | None:
    """The gap below which orders count as equal; None where the range is open."""
    if logarithm:
        return math.log1p(share)
    return None if scale.low is None or scale.high is None else share * (scale.high - scale.low)


def verdicts(cells: Sequence[Evidence]) -> list[tuple[float | None, str | None]]:
    """For each cell of a table p adjusted over all of them (Holm), and what it shows; None without a gap.

    `matters`: adjusted p < .05. `does_not_matter`: two one-sided tests place every gap within the margin. Neither:
    `not_shown`. Lost points decide nothing: where they could turn the answer, it is `undecided`.
    """
    adjusted = holm([cell.p for cell in cells])
    return [(p, _verdict(cell, p)) for cell, p in zip(cells, adjusted, strict=True)]


def _verdict(cell: Evidence, p: float | None) -> str | None:
    means = [gap.mean for gap in cell.gaps if gap.mean is not None]
    if not means or len(means) < len(cell.gaps):
        return UNDECIDED if cell.n_lost else None
    if p is not None and p < LEVEL:
        turned = cell.lost is None or cell.lost[0] * means[0] <= 0 or cell.lost[1] * means[0] <= 0
        return UNDECIDED if cell.n_lost and turned else MATTERS
    if cell.margin is not None and all(gap.within(cell.margin) for gap in cell.gaps):
        beyond = cell.lost is None or max(abs(end) for end in cell.lost) > cell.margin
        return UNDECIDED if cell.n_lost and beyond else DOES_NOT_MATTER
    return UNDECIDED if cell.n_lost else NOT_SHOWN
