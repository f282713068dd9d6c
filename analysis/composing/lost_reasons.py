"""Why points of a cell do not count, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from rayci.analysis.composing.family_reading import FamilyReading
from rayci.analysis.scan.samples import Gap, Samples
from rayci.analysis.statistics.piecewise import Kept


def reasons(where: FamilyReading, held: Samples, beyond: Kept) -> list[str]:
    """What has no value, no place on the axis, or is `beyond[points]` a bound; empty where every point counts."""
    left_out = dict(where.refused)
    if where.leeway is not None:
        left_out |= {held.grid[point]: where.leeway.problems[held.grid[point]] for point in np.flatnonzero(beyond)}
    if not held.gaps and not left_out:
        return []
    gaps = {**held.gaps, **{Gap("left out", gamma, why): held.runs for gamma, why in left_out.items()}}
    return list(_told(gaps, held.runs, where))


def _told(gaps: Mapping[Gap, int], runs: int, where: FamilyReading) -> Iterator[str]:
    """Every gap once, with the γ and, where only some runs have it, how many."""
    together: dict[tuple[str, str, int], list[str]] = {}
    for gap, count in gaps.items():
        there = together.setdefault((gap.order, gap.reason, count), [])
        there += [] if gap.strength is None else [f"{gap.strength:g}"]
    for (order, reason, count), gammas in together.items():
        axis = where.family.axis
        at = f" at {axis.strength_name} {', '.join(gammas)}" if gammas and axis else ""
        yield f"{order}{at}: {reason}" + ("" if count == runs else f" ({count} of {runs} replicates)")
