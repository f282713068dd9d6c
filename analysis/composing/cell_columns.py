"""The numbers of the composability table as columns, filled in batch by batch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayci.analysis.composing.family_reading import FamilyReading, Reading
from rayci.analysis.statistics.intervals import LEAST_UNITS, Summaries, Summary
from rayci.analysis.statistics.item_pairs import ItemScores
from rayci.analysis.statistics.lost_points import Bounds
from rayci.analysis.statistics.piecewise import Array
from rayci.analysis.statistics.scoring import Reach, Scores
from rayci.analysis.statistics.verdicts import Evidence, joint_p, verdicts
from rayci.kinds import Scale

Rows = NDArray[np.intp]
Texts = NDArray[np.object_]

METRICS = ("order_free_error", "order_sensitivity")
SPREADS = tuple(f"{metric}_{end}" for metric in METRICS for end in ("low", "high", "se"))
BOUNDS = tuple(f"{metric}_bound_{end}" for metric in METRICS for end in ("low", "high"))
FURTHER = ("order_sensitivity_per_replicate", "order_sensitivity_corrected")
GAP = ("gap", "gap_low", "gap_high")
NUMBERS = ("strength", *METRICS, *SPREADS, *BOUNDS, *FURTHER, *GAP, "gap_p", "kept_low", "kept_high")
COUNTS = ("n_points", "n_replicates", "points_asked", "sensitivity_points")
TEXTS = ("unit", "best_order", "worst_order", "interval_of")


def value_columns(size: int) -> list[str]:
    """The criterion after every order of `size` methods: `value_ij` is i, then j."""
    return ["value_" + "".join(order) for order in itertools.permutations("ijkl"[:size])]


@dataclass(frozen=True)
class CellColumns:
    """Columns `[cells]`; a cell without a number keeps NaN, 0 where something is counted, None where it is named."""

    where: Sequence[FamilyReading]
    numbers: Mapping[str, Array]
    counts: Mapping[str, NDArray[np.int64]]
    texts: Mapping[str, Texts]
    values: Mapping[str, Array]
    """The criterion itself, by `value_columns`."""
    evidence: Evidence
    reasons: Sequence[list[str]]

    @staticmethod
    def of(
        asked: Sequence[tuple[FamilyReading, str]], scales: Mapping[str, Scale], reading: Reading, size: int
    ) -> CellColumns:
        """Columns that hold what is known before anything is measured."""
        cells = len(asked)
        columns = CellColumns(
            [where for where, _ in asked],
            {name: np.full(cells, np.nan) for name in NUMBERS},
            {name: np.zeros(cells, dtype=np.int64) for name in COUNTS},
            {name: np.full(cells, None, dtype=object) for name in TEXTS},
            {name: np.full(cells, np.nan) for name in value_columns(size)},
            Evidence.of(cells),
            [[] for _ in asked],
        )
        columns.numbers["strength"][:] = [np.nan if w.strength is None else w.strength for w, _ in asked]
        columns.counts["points_asked"][:] = [len(w.family.grid) if reading.place.is_area else 1 for w, _ in asked]
        columns.texts["unit"][:] = [scales[criterion].unit for _, criterion in asked]
        return columns

    def write_bounds(self, rows: Rows, lost: Bounds) -> None:
        """What lost points could have changed."""
        for metric in METRICS:
            for end, column in zip(("low", "high"), getattr(lost, metric).T, strict=True):
                self.numbers[f"{metric}_bound_{end}"][rows] = column
        self.evidence.lost[rows] = lost.gap

    def write_scores(self, rows: Rows, scored: Scores) -> None:
        """Metrics with their intervals, the criterion after every order, and what the gaps show."""
        for metric in METRICS:
            self._interval(rows, metric, getattr(scored, metric))
        self.numbers["order_sensitivity_per_replicate"][rows] = scored.per_replicate
        self.numbers["order_sensitivity_corrected"][rows] = scored.corrected
        self.counts["sensitivity_points"][rows] = scored.sensitivity_points
        gaps, evidence = scored.gaps, self.evidence
        if gaps.mean.shape[1] == 1:
            for name, column in zip(GAP, (gaps.mean, gaps.low, gaps.high), strict=True):
                self.numbers[name][rows] = column[:, 0]
        self.numbers["gap_p"][rows] = evidence.p[rows] = joint_p(gaps)
        evidence.gap[rows] = np.where(np.isnan(gaps.mean).any(axis=1), np.nan, gaps.mean[:, 0])
        evidence.inside[rows] = gaps.within(evidence.margin[rows][:, None]).all(axis=1)
        self._by_order(rows, scored.by_order)
        for name, place in zip(("best_order", "worst_order"), _ends(scored.costs), strict=True):
            self.texts[name][rows] = [
                None if order < 0 else self.where[row].orders[order] for row, order in zip(rows, place, strict=True)
            ]

    def write_item_scores(self, row: int, told: ItemScores) -> None:
        """What paired items show of one cell, in the place of what units do."""
        evidence, margin, gaps = self.evidence, float(self.evidence.margin[row]), told.gaps
        for metric in METRICS:
            summary: Summary = getattr(told, metric)
            if summary.low is not None and np.isfinite(self.numbers[metric][row]):
                low = max(0.0, summary.low) if self.numbers[metric][row] >= 0 else summary.low
                for end, number in (("low", low), ("high", summary.high), ("se", summary.stderr)):
                    self.numbers[f"{metric}_{end}"][row] = number
        if len(gaps) == 1:
            for name, number in zip(GAP, (gaps[0].mean, gaps[0].low, gaps[0].high), strict=True):
                self.numbers[name][row] = number
        smallest = min(gap.p for gap in gaps if gap.p is not None)
        self.numbers["gap_p"][row] = evidence.p[row] = min(1.0, len(gaps) * smallest)
        evidence.inside[row] = all(gap.within(margin) for gap in gaps)
        self.texts["interval_of"][row] = "items"

    def write_support(
        self, rows: Rows, reach: Reach, gammas: Array, inside: NDArray[np.int64], units: Sequence[str | None], n: int
    ) -> None:
        """Which γ count, and how many `units` there are: `gammas[cells, points]`, of which so many are `inside`."""
        self.counts["n_points"][rows], self.counts["n_replicates"][rows] = inside, n
        if n >= LEAST_UNITS:
            self.texts["interval_of"][rows] = units
        ends = gammas[:, [0, -1]]
        if reach.within is not None:
            parts = reach.pieces()
            between, counted = parts.at(gammas[:, None])[:, 0], parts.counted.reshape(len(rows), -1)
            first, last = counted.argmax(axis=1), counted.shape[1] - 1 - counted[:, ::-1].argmax(axis=1)
            begins, stops = (end.reshape(len(rows), -1) for end in (between[..., :-1], between[..., 1:]))
            each = np.arange(len(rows))
            ends = np.stack([begins[each, first], stops[each, last]], axis=1)
        self.numbers["kept_low"][rows], self.numbers["kept_high"][rows] = ends.min(axis=1), ends.max(axis=1)

    def shown(self) -> dict[str, Any]:
        """Every column by its name, with what the gaps show beside all others of the table."""
        adjusted, verdict = verdicts(self.evidence)
        told = [("; ".join(dict.fromkeys(reasons)) or None) for reasons in self.reasons]
        shown = {"gap_p_adjusted": adjusted, "verdict": verdict, "reason": told}
        return {**self.numbers, **self.counts, **self.texts, **self.values, **shown}

    def _by_order(self, rows: Rows, by_order: Array) -> None:
        """Sets in which a method occurs twice have fewer orders than columns, and leave some empty."""
        places = np.array([self.where[row].columns for row in rows])
        for number, column in enumerate(self.values.values()):
            cells, orders = np.nonzero(places == number)
            column[rows[cells]] = by_order[cells, orders]

    def _interval(self, rows: Rows, name: str, summary: Summaries) -> None:
        """The interval of a metric that cannot be negative ends at 0."""
        low = np.where(summary.mean >= 0, np.maximum(0.0, summary.low), summary.low)
        for column, values in (("", summary.mean), ("_low", low), ("_high", summary.high), ("_se", summary.stderr)):
            self.numbers[name + column][rows] = values


def _ends(costs: Array) -> list[NDArray[np.intp]]:
    """The best and the worst order of each cell; −1 where several share that place, or one has no value."""
    ends = []
    for place in (costs.argmin(axis=1), costs.argmax(axis=1)):
        end = np.take_along_axis(costs, place[:, None], axis=1)
        alone = np.isclose(costs, end, rtol=1e-9, atol=1e-12).sum(axis=1) == 1
        ends.append(np.where(alone & ~np.isnan(costs).any(axis=1), place, -1))
    return ends
