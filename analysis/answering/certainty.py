"""How sure it is that a chain is the best: parametric draws over units, paired where chains share them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rayci.analysis.answering.chains import Chain, Ending
from rayci.analysis.answering.needs import Need, Objective
from rayci.analysis.statistics.piecewise import Array

DRAWS = 10_000
_AT_A_TIME = 4_000_000
"""Numbers that are drawn at a time."""


@dataclass(frozen=True)
class Sampled:
    """What chains measure of some quantities, as normal distributions: in their own unit, the objective last."""

    means: Array
    """`[chains, quantities]`."""
    shared: Array
    """`[chains, quantities, units]`: what one standard normal number of each unit adds, (x_u − mean) / √(n (n − 1)).

    Its sum has the covariance of the means over units: what was measured on the same edit batches moves together.
    """
    own: Array
    """`[chains, quantities]`: standard errors that nothing shares."""
    sizes: NDArray[np.bool_]
    """`[quantities]`: whose absolute value counts."""
    signs: Array
    """`[quantities]`: 1 where less is better, −1 where more is."""
    bounds: Array
    """`[quantities − 1]`: the most that each cost but the last may be."""

    def draws(self, generator: np.random.Generator, count: int) -> Array:
        """Costs `[count, chains, quantities]`, less being better."""
        common = np.tensordot(generator.standard_normal((count, self.shared.shape[-1])), self.shared, axes=(1, 2))
        drawn = self.means + common + self.own * generator.standard_normal((count, *self.means.shape))
        return self.signs * np.where(self.sizes, np.abs(drawn), drawn)


@dataclass(frozen=True)
class Chances:
    """How likely each chain is, `[chains]`, …"""

    meets: Array
    """to keep every bound,"""
    best: Array
    """and that no other chain that does has a lower objective."""


def chances(choice: Sampled, seed: int = 0) -> Chances:
    """Shares of DRAWS draws, seeded: their standard error is at most .005."""
    generator = np.random.default_rng(seed)
    meets, best = np.zeros(len(choice.means)), np.zeros(len(choice.means))
    left = DRAWS
    while left:
        count = min(left, max(1, _AT_A_TIME // choice.means.size))
        left -= count
        costs = choice.draws(generator, count)
        kept = (costs[..., :-1] <= choice.bounds).all(axis=-1)
        price = np.where(kept, costs[..., -1], np.inf)
        meets += kept.sum(axis=0)
        best += (kept & (price <= price.min(axis=1, keepdims=True))).sum(axis=0)
    return Chances(meets / DRAWS, best / DRAWS)


def sampled(measured: Sequence[Chain], needs: Sequence[Need], objective: Objective) -> Sampled:
    """The distributions of what is needed and wanted, of chains that have every value.

    One measurement has its items' standard error, which nothing shares; what was measured on the weights has none.
    """
    quantities = [*(need.quantity for need in needs), objective.quantity]
    endings = [[chain.endings[quantity.criterion] for quantity in quantities] for chain in measured]
    named = dict.fromkeys(unit for row in endings for ending in row for unit in _loads(ending))
    units = {unit: place for place, unit in enumerate(named)}
    shape = (len(measured), len(quantities))
    shared, own = np.zeros((*shape, max(1, len(units)))), np.zeros(shape)
    for chain, row in enumerate(endings):
        for place, (ending, quantity) in enumerate(zip(row, quantities, strict=True)):
            if quantity.exact or not math.isfinite(ending.mean or 0.0):
                continue
            own[chain, place] = 0.0 if ending.units else ending.summary.stderr or 0.0
            for unit, load in _loads(ending).items():
                shared[chain, place, units[unit]] = load
    means = np.array([[ending.mean for ending in row] for row in endings], dtype=np.float64)
    signs = np.array([*(1.0 if need.at_most else -1.0 for need in needs), objective.cost(1.0)])
    sizes = np.array([quantity.size for quantity in quantities])
    return Sampled(means, shared, own, sizes, signs, signs[:-1] * np.array([need.bound for need in needs]))


def _loads(ending: Ending) -> dict[tuple[str, int | None], float]:
    """Unit -> what one standard normal number of it adds to the mean."""
    n, mean = len(ending.by_unit), ending.mean or 0.0
    if ending.units is None:
        return {}
    return {(ending.units, unit): (x - mean) / math.sqrt(n * (n - 1)) for unit, x in ending.by_unit.items()}
