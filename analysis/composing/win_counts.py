"""Wins: how often a method is the most composable of its category."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rayci.analysis.composing.metric_table import metrics
from rayci.analysis.scan.reading_point import At
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("category", "method", "partners", "criterion", "metric", "wins", "robust_wins", "columns", "undecided")
_KEYS = 5
"""Columns that say which contest a row is of."""
ROUNDING = 0.005
"""How far a value printed with two decimals may be from the measured one."""
METRICS = ("order_free_error", "order_sensitivity")

_Contest = tuple[str, str, str, str]
"""Category, kind of the partner, criterion, metric: what wins are added up within."""


def wins(
    source: ResultTable | pd.DataFrame, at: At = "published", digits: int = 2, beyond_intervals: bool = False
) -> pd.DataFrame:
    """Count, within each category (editors, pruners, quantisers, unlearners), who wins how many columns.

    A column is one criterion, one metric and one partner. The method with the strictly lowest
    value after rounding to `digits` decimals wins it; a tie is a loss for all. A robust win is one that stands when
    every value moves by ROUNDING. With `beyond_intervals`, values are not rounded and the winner's 95 % interval must
    end below every other's beginning. A column in which a method has no value, lost points (or, there, has no
    interval) is undecided. `source`: a result table, read at `at`, or what `metrics` returned.
    """
    import pandas as pd

    frame = metrics(source, at) if isinstance(source, ResultTable) else source
    contests: dict[_Contest, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for contest, partner, method, record in _entries(frame.to_dict("records")):
        contests.setdefault(contest, {}).setdefault(partner, {})[method] = record
    rows = []
    for contest, partners in contests.items():
        methods = sorted({method for record in partners.values() for method in record})
        if len(methods) < 2:
            continue
        outcomes = [_winner(contest[3], partners[name], methods, digits, beyond_intervals) for name in partners]
        decided = [outcome for outcome in outcomes if outcome is not None]
        winners, robust = [name for name, _ in decided], [name for name, stands in decided if stands]
        counts = (len(decided), len(outcomes) - len(decided))
        rows += [(*_keys(contest, name), winners.count(name), robust.count(name), *counts) for name in methods]
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(list(COLUMNS[:_KEYS]), ignore_index=True)


def _keys(contest: _Contest, method: str) -> tuple[str, str, str, str, str]:
    category, partners, criterion, metric = contest
    return category, method, partners, criterion, metric


def _entries(records: list[dict[Any, Any]]) -> Iterator[tuple[_Contest, str, str, Mapping[str, Any]]]:
    """Each row of a composability table twice: seen from either method."""
    for record in records:
        for own, other in (("i", "j"), ("j", "i")):
            for metric in METRICS:
                contest = (record[f"category_{own}"], record[f"kind_{other}"], record["criterion"], metric)
                yield contest, record[f"method_{other}"], record[f"method_{own}"], record


def _winner(
    metric: str, column: Mapping[str, Mapping[str, Any]], methods: list[str], digits: int, beyond: bool
) -> tuple[str | None, bool] | None:
    """Who wins the column, and whether robustly; a tie is won by nobody. None where it is undecided."""
    names = (f"{metric}_low", f"{metric}_high") if beyond else (metric, metric)
    ends = {method: [_number(column.get(method, {}).get(name)) for name in names] for method in methods}
    known = {method: (low, high) for method, (low, high) in ends.items() if low is not None and high is not None}
    if len(known) < len(methods) or any(record["n_points"] < record["points_asked"] for record in column.values()):
        return None
    leader = min(known, key=lambda method: known[method][1])
    highest = known[leader][1]
    others = [low for method, (low, _) in known.items() if method != leader]
    robust = all(highest + 2 * ROUNDING < low for low in others)
    ahead = all(highest < low if beyond else round(highest, digits) < round(low, digits) for low in others)
    return (leader, robust) if ahead else (None, False)


def _number(value: Any) -> float | None:
    import pandas as pd

    return None if value is None or pd.isna(value) else float(value)
