"""Area under the ROC curve as the share of pairs in the right order, with its standard error.

    AUC = P(positive > negative) + ½ P(equal)
    V⁺ᵢ = share of negatives below positive i,  V⁻ⱼ = share of positives above negative j,  ties counting half
    se² = var(V⁺) / n⁺ + var(V⁻) / n⁻                                    (DeLong et al. 1988, eq. 5)

AUC is the mean of V⁺ and that of V⁻, but no mean over all items. What each item adds is AUC + (n / n⁺)(V⁺ᵢ − AUC), and
likewise of a negative: their mean is the AUC, their spread its standard error, and the spread of their differences
between two models that of the difference (DeLong's covariance), so that paired differences over items are sound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RankAuc:
    """An AUC and what it is made of."""

    area: float
    stderr: float | None
    """None where there are fewer than two of a kind."""
    added: Values
    """What each item adds, `[positives + negatives]`; the mean is the area."""


def rank_auc(positives: Values, negatives: Values) -> RankAuc:
    """AUC of scores that should be higher for positives `[n⁺]` than for negatives `[n⁻]`; neither empty, none NaN."""
    above, below = _below(positives, negatives), 1 - _below(negatives, positives)
    area, n = float(above.mean()), len(above) + len(below)
    added = [area + n / len(kind) * (kind - area) for kind in (above, below)]
    several = min(len(above), len(below)) > 1
    stderr = math.sqrt(sum(kind.var(ddof=1) / len(kind) for kind in (above, below))) if several else None
    return RankAuc(area, stderr, np.concatenate(added))


def _below(values: Values, others: Values) -> Values:
    """Share of `others` below each of the values `[values]`, equal ones counting half."""
    ordered = np.sort(others)
    both = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return both / (2 * len(others))
