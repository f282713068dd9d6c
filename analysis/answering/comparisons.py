"""The composability table read as comparisons of orders: which is best, by how much, shown or not, at which cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rayci.analysis.answering.findings import concerns
from rayci.analysis.composing.metric_table import METHODS
from rayci.analysis.statistics.composability import badness
from rayci.analysis.text.tables import pair_name, records_of
from rayci.kinds import Direction, Scale

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Utility:
    """A criterion of general utility, and its value on the untouched model; None where that was not measured."""

    criterion: str
    untouched: float | None
    sign: int
    """1 where more is better, −1 where less is."""


@dataclass(frozen=True)
class Comparison:
    """The orders of one set of methods on one criterion, at one place of the sweep."""

    methods: tuple[str, ...]
    categories: tuple[str, ...]
    """`editors`, `pruners` … of the methods."""
    kinds: tuple[str, ...]
    name: str
    """`ft × wanda @ 0.45`."""
    criterion: str
    unit: str
    best_order: str | None
    """None where several orders are equally good."""
    worst_order: str | None
    best: float | None
    """The criterion after the best order, in its unit (areas of perplexities: its logarithm)."""
    worst: float | None
    difference: float | None
    """|best − worst|; ∞ where the worst is infinite."""
    low: float | None
    """Ends of the 95 % interval of the difference, of two orders only; negative: the other order may be better."""
    high: float | None
    p: float | None
    """Of no order differing, adjusted over the table."""
    verdict: str | None
    n: int
    interval_of: str | None
    """What interval and p are over: `replicates`, `seeds` or `items`."""
    utility: str | None
    """The criterion of general utility; None where there is none, or where this row is about it."""
    cost: float | None
    """Utility lost against the untouched model after the best order; negative where it rose."""
    other_cost: float | None
    """The same after the worst order."""
    range: float | None
    """Of the criterion, None where it is open."""
    reason: str | None

    @property
    def compared(self) -> bool:
        """Whether there is anything to tell the orders apart by, be it lost points."""
        return self.verdict is not None or self.difference is not None

    @property
    def effect(self) -> float:
        """The difference as a share of the criterion's range, the only unit that criteria have in common."""
        return (self.difference or 0.0) / self.range if self.range else 0.0


def comparisons(
    frame: pd.DataFrame, utility: Utility | None, ranges: Mapping[str, float], costs: pd.DataFrame | None = None
) -> tuple[list[Comparison], list[Comparison]]:
    """Rows of a composability table whose criterion concerns their methods: those compared, and those that cannot be.

    `ranges`: criterion -> the width of its range, left out where it is open. `costs`: a table read at the same place
    that holds the utility, where `frame` does not.
    """
    records = records_of(frame)
    held = records_of(costs) if costs is not None else records
    utilities = {_key(record): _by_order(record) for record in held if _is(utility, record)}
    read = [_read(r, utility, utilities.get(_key(r), {}), ranges.get(r["criterion"])) for r in records if concerns(r)]
    return [row for row in read if row.compared], [row for row in read if not row.compared]


def _read(
    record: Mapping[str, Any], utility: Utility | None, utilities: Mapping[str, float], width: float | None
) -> Comparison:
    by_order = _by_order(record)
    best, worst = _ends(record, by_order)
    low, high = _oriented(record)
    price = utility if utility is not None and record["criterion"] != utility.criterion else None
    logarithm = str(record["unit"] or "").startswith("ln ")
    return Comparison(
        methods=_methods(record),
        categories=_about(record, "category"),
        kinds=_about(record, "kind"),
        name=pair_name(record),
        criterion=record["criterion"],
        unit=record["unit"] or "",
        best_order=record["best_order"],
        worst_order=record["worst_order"],
        best=best,
        worst=worst,
        difference=_apart(best, worst),
        low=low,
        high=high,
        p=record["gap_p_adjusted"],
        verdict=record["verdict"],
        n=record["n_replicates"],
        interval_of=record["interval_of"],
        utility=None if price is None else price.criterion,
        cost=_cost(price, utilities.get(record["best_order"] or "")),
        other_cost=_cost(price, utilities.get(record["worst_order"] or "")),
        range=None if logarithm else width,
        reason=record["reason"],
    )


def _is(utility: Utility | None, record: Mapping[str, Any]) -> bool:
    return utility is not None and record["criterion"] == utility.criterion


def _key(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*_methods(record), record["strength"])


def _methods(record: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(record[name] for name in METHODS if record.get(name))


def _about(record: Mapping[str, Any], column: str) -> tuple[str, ...]:
    return tuple(record[f"{column}_{name[-1]}"] for name in METHODS if record.get(name))


def _by_order(record: Mapping[str, Any]) -> dict[str, float]:
    """Order as text -> the criterion after it."""
    letters = {name[-1]: record[name] for name in METHODS if record.get(name)}
    return {
        " > ".join(letters[letter] for letter in order): record[f"value_{''.join(order)}"]
        for order in itertools.permutations(letters)
        if record.get(f"value_{''.join(order)}") is not None
    }


def _ends(record: Mapping[str, Any], by_order: Mapping[str, float]) -> tuple[float | None, float | None]:
    """The values of the best and the worst order; None where one has no value."""
    if not by_order or len(by_order) < sum(name.startswith("value_") for name in record):
        return None, None
    reached = np.array(list(by_order.values()))
    cost = badness(reached, Scale(Direction(record["direction"])))
    best, worst = float(reached[cost.argmin()]), float(reached[cost.argmax()])  # where several orders share the place
    return by_order.get(record["best_order"] or "", best), by_order.get(record["worst_order"] or "", worst)


def _apart(best: float | None, worst: float | None) -> float | None:
    if best is None or worst is None or math.isnan(best - worst):  # ∞ − ∞
        return None
    return abs(best - worst)


def _oriented(record: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The interval of the gap, turned so that positive means: the better order is ahead."""
    low, high = record.get("gap_low"), record.get("gap_high")
    if low is None or high is None:
        return None, None
    return (low, high) if record["gap"] >= 0 else (-high, -low)


def _cost(utility: Utility | None, value: float | None) -> float | None:
    if utility is None or utility.untouched is None or value is None:
        return None
    lost = utility.sign * (utility.untouched - value)
    return None if math.isnan(lost) else lost
