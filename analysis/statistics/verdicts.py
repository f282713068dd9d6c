"""Whether the order matters: what the signed gaps of cells show, each beside all other cells of its table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rayci.analysis.statistics.intervals import LEVEL, Summaries, holm
from rayci.analysis.statistics.piecewise import Array, Kept
from rayci.kinds import Scale

MATTERS, DOES_NOT_MATTER, NOT_SHOWN, UNDECIDED = "matters", "does_not_matter", "not_shown", "undecided"

MARGIN = 0.05
"""Share of a criterion's range (of the value, on a logarithm) within which two orders count as equal."""


@dataclass(frozen=True)
class Evidence:
    """What the cells of a table know of their gaps; every array is `[cells, …]`."""

    gap: Array
    """The gap of the first two orders; NaN where any two have none."""
    p: Array
    """Of all orders being equal; NaN where there is none."""
    margin: Array
    """In the criterion's unit; NaN where its range is open."""
    inside: Kept
    """Whether every gap is shown to lie within the margin."""
    lost: Array
    """`[cells, 2]`: what the gap of two orders could be on the whole grid, where points were lost; NaN elsewhere."""
    n_lost: NDArray[np.int64]

    @staticmethod
    def of(cells: int) -> Evidence:
        """Of cells of which nothing is known yet."""
        gap, p, margin, *lost = np.full((5, cells), np.nan)
        counts = np.zeros(cells, dtype=np.int64)
        return Evidence(gap, p, margin, np.zeros(cells, dtype=bool), np.column_stack(lost), counts)


def margin_of(scale: Scale, share: float, *, logarithm: bool) -> float:
    """The gap below which orders count as equal; NaN where the range is open."""
    if logarithm:
        return math.log1p(share)
    return math.nan if scale.width is None else share * scale.width


def joint_p(gaps: Summaries) -> Array:
    """p `[cells]` of all orders being equal, from `gaps[cells, pairs]`: the smallest, times the pairs (Bonferroni)."""
    smallest = np.where(np.isnan(gaps.p), np.inf, gaps.p).min(axis=-1, initial=np.inf)
    return np.where(np.isinf(smallest), np.nan, np.minimum(1.0, gaps.p.shape[-1] * smallest))


def verdicts(cells: Evidence) -> tuple[Array, NDArray[np.object_]]:
    """For each cell of a table p adjusted over all of them (Holm; NaN without one), and what it shows.

    `matters`: adjusted p < .05. `does_not_matter`: two one-sided tests place every gap within the margin. Neither:
    `not_shown`. Lost points decide nothing: where they could turn the answer, it is `undecided`. None without a gap.
    """
    adjusted, lost = holm(cells.p), cells.n_lost > 0
    unknown, shown = np.isnan(cells.lost).any(axis=1), adjusted < LEVEL
    turned = lost & (unknown | (cells.lost * cells.gap[:, None] <= 0).any(axis=1))
    beyond = lost & (unknown | (np.abs(cells.lost).max(axis=1) > cells.margin))
    said = np.where(lost, UNDECIDED, NOT_SHOWN).astype(object)
    said[cells.inside & ~beyond] = DOES_NOT_MATTER
    said[shown] = np.where(turned[shown], UNDECIDED, MATTERS)
    said[np.isnan(cells.gap)] = None
    said[np.isnan(cells.gap) & lost] = UNDECIDED
    return adjusted, said
