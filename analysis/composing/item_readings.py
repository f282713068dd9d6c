"""The per-item values of a table's readings, and the metrics that they tell where orders were measured once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rayci import item_values
from rayci.analysis.scan.runs import Runs
from rayci.analysis.statistics.composability import order_sensitivity
from rayci.analysis.statistics.item_pairs import ItemCurves, ItemScores, item_curves, item_scores
from rayci.analysis.statistics.piecewise import Array
from rayci.analysis.statistics.scoring import Reach
from rayci.kinds import Scale
from rayci.table import ResultTable

_SAME = ("criterion_fingerprint", "replicate", "item", "n")
"""What readings share whose items are the same ones in the same order: the fingerprint holds the data and the draw."""


@dataclass(frozen=True)
class ItemReadings:
    """The items of a table, looked up by its rows; nothing is read before the first question."""

    table: ResultTable

    def scores(self, runs: Runs, points: Sequence[int], values: Array, reach: Reach, scale: Scale) -> ItemScores | None:
        """As `Scores` of one cell, over the items that every order answered at these points of the family's grid.

        `values[orders, points]` is what the table says there, on this scale. None where the items are not all there,
        not the same ones, fewer than three, or do not make the values, and where a gap is infinite.
        """
        with np.errstate(invalid="ignore"):
            finite = ~np.isnan(order_sensitivity(values))  # ∞ − ∞ says nothing, in the score neither
        counting = runs.rows[runs.ran][..., points][..., finite]
        if not counting.size or (counting < 0).any():
            return None
        curves = self.curves(runs.places[counting], values[:, finite], exponential=scale.logarithmic)
        if curves is None:
            return None
        told = item_scores(curves, scale, reach if finite.all() else Reach(reach.x[finite], rescale=reach.rescale))
        return None if any(gap.low is None for gap in told.gaps) else told

    def curves(self, rows: NDArray[np.integer], values: Array, *, exponential: bool) -> ItemCurves | None:
        """What items counted in these rows `[runs, curves, points]`, a mean over runs.

        None where they are not all there, not the same ones, or do not make the `values[curves, points]`: their means,
        or the exponentials of those.
        """
        if not np.isfinite(values).all():
            return None
        held = self._items(rows)
        if held is None:
            return None
        curves = item_curves(held[0].mean(axis=1), held[1], exponential=exponential)
        return curves if np.allclose(curves.values.mean(axis=0), values, rtol=1e-6, atol=1e-9) else None

    def _items(self, rows: NDArray[np.integer]) -> tuple[Array, Array | None] | None:
        """Values `[items, *rows.shape]` and weights `[items]` of some rows; None where they cannot be paired."""
        kept = self.table.item_values
        if kept is None or (self._places[rows] < 0).any():
            return None
        readings = kept.take(self._places[rows].ravel())
        weights = item_values.weights(readings)
        distinct = set(zip(*(readings.column(name).to_pylist() for name in _SAME), strict=True))
        if len(distinct) > 1 or not _alike(weights):
            return None
        values = np.stack(item_values.values(readings), axis=1)
        return values.reshape(-1, *rows.shape), weights[0]

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Of every row of the table which row of the items is its reading; −1 where none is."""
        key = [pl.col(name).cast(pl.String) for name in item_values.KEY]
        kept = pl.DataFrame(self.table.item_values).lazy().select(key).with_row_index("place")
        rows = self.table.columns(item_values.KEY).select(key)
        placed = rows.join(kept, on=item_values.KEY, how="left", nulls_equal=True, maintain_order="left")
        places: NDArray[np.int64] = (
            placed.select(pl.col("place").cast(pl.Int64).fill_null(-1)).collect()["place"].to_numpy()
        )
        return places


def _alike(weights: Sequence[Array | None]) -> bool:
    """Whether all readings weigh their items the same."""
    first = weights[0]
    return all(own is first if own is None or first is None else np.array_equal(own, first) for own in weights)
