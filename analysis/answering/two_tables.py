"""One table beside another: where their numbers differ, whether they rank alike, which ordering rules hold in each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rayci.analysis.answering.ordering_rules.rule_table import rules
from rayci.analysis.composing.chain_curves import typed
from rayci.analysis.composing.stage_summaries import StageSummaries, StageSummary
from rayci.analysis.scan.asked import Composition
from rayci.analysis.scan.cells import scale_of
from rayci.analysis.scan.chain_values import Chains
from rayci.analysis.scan.reading_point import At
from rayci.analysis.statistics.intervals import Summary, difference, holm
from rayci.errors import RequestError
from rayci.kinds import Scale
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

DIFFERENCES = (
    "criterion", "composition", "here", "there", "difference", "difference_low", "difference_high",
    "difference_p", "difference_p_adjusted", "n_here", "n_there",
    "interval_of_here", "interval_of_there", "reason",
)  # fmt: skip
CORRELATIONS = ("criterion", "n", "spearman", "spearman_p", "kendall", "kendall_p", "reason")
RULES = (
    "rule", "claim", "here", "there", "agree", "statistic_here", "statistic_there", "n_here", "n_there",
    "sentence_here", "sentence_there",
)  # fmt: skip
_RULE_TEXTS = ("claim", "here", "there", "sentence_here", "sentence_there")
_OVER = ("interval_of_here", "interval_of_there")
_COUNTS = ("n_here", "n_there")
LEAST_RANKED = 3
"""Cells below which nothing is ranked."""


@dataclass(frozen=True, repr=False)
class TwoTables:
    """What two tables say of the same things."""

    differences: pd.DataFrame
    """Every common cell: one criterion after one composition (methods, order and γ), columns DIFFERENCES."""
    correlations: pd.DataFrame
    """For each common criterion whether the cells rank alike, columns CORRELATIONS."""
    rules: pd.DataFrame
    """The fourteen ordering rules in both, columns RULES."""
    only_here: tuple[str, ...]
    """Compositions that the other table lacks."""
    only_there: tuple[str, ...]

    def __repr__(self) -> str:
        cells = f"{len(self.differences)} common cells of {len(self.correlations)} criteria"
        return f"TwoTables({cells}; {len(self.only_here)} compositions only here, {len(self.only_there)} only there)"


def compare(here: ResultTable, there: ResultTable, at: At = "area") -> TwoTables:
    """Differences here − there, rank correlations and ordering rules of two tables; models may differ.

    Compositions are the same where methods, order and γ are; settings tell two apart only where a table holds both.
    Values of another closed range (per cent beside shares) are told in the first table's. The interval of a difference
    is Welch's over the units of both, or over the items of what was measured once, p is adjusted (Holm) over all cells;
    a side that has neither, as a printed number, counts as exact: `interval_of_here` and `interval_of_there` say whose
    noise it is. Infinite on both sides is no difference that has a value. `at`: where the ordering rules compare pairs.
    Raises RequestError where the tables have no cell in common, or one of them holds several models.
    """
    sides = [_Side(here, "the first table", "--model"), _Side(there, "the second table", "--other-model")]
    names = [side.compositions.keys() for side in sides]
    common = [name for name in names[0] if name in names[1]]
    criteria = [name for name in sides[0].criteria if name in sides[1].criteria]
    rows = [row for criterion in criteria for row in _differences(criterion, common, *sides)]
    adjusted = holm([row["difference_p"] for row in rows])
    rows = [{**row, "difference_p_adjusted": p} for row, p in zip(rows, adjusted, strict=True)]
    if not rows:
        raise RequestError(
            "nothing that the two tables have in common has a value in both"
            if common and criteria
            else "the two tables have no composition and criterion in common",
            at=f"the first has {sides[0]}; the second has {sides[1]}",
            hint="name two runs of the same methods and strengths",
        )
    differences = typed(rows, DIFFERENCES, ("criterion", "composition", *_OVER)).astype(dict.fromkeys(_COUNTS, "Int64"))
    ranked = [_correlation(criterion, differences[differences.criterion == criterion]) for criterion in criteria]
    judged = typed(list(_rules(here, there, at)), RULES, _RULE_TEXTS)
    return TwoTables(
        differences,
        typed(ranked, CORRELATIONS, ("criterion",)).astype({"n": "Int64"}),
        judged.astype({"rule": "Int64", "agree": "boolean", **dict.fromkeys(_COUNTS, "Int64")}),
        *(tuple(name for name in own if name not in other) for own, other in (names, names[::-1])),
    )


class _Side:
    """One of the two tables."""

    def __init__(self, table: ResultTable, name: str, option: str) -> None:
        try:
            self.chains = Chains(table)
        except RequestError as error:  # several models or policies
            hint = error.hint and error.hint.replace("--model", option)
            raise RequestError(error.problem, at=name, allowed=error.allowed, hint=hint) from None
        self.table = table
        self.compositions: Mapping[str, Composition] = {self.chains.name(steps): steps for steps in self.chains.finals}
        self.criteria = sorted(table.arrow.column("criterion").unique().to_pylist())

    def __str__(self) -> str:
        methods = {step.variant.method for steps in self.compositions.values() for step in steps}
        return f"{', '.join(sorted(methods)) or 'no method'} by {', '.join(self.criteria) or 'no criterion'}"

    def after(self, names: list[str], criterion: str, scale: Scale) -> list[StageSummary]:
        """The mean after each composition on a scale."""
        own = scale_of(self.table, criterion)
        held, share = StageSummaries(self.chains, criterion, own), _share(own, scale)
        told = held.after([self.chains.ending(self.compositions[name]) for name in names])
        return told if share is None else [replace(t, summary=_moved(t.summary, own, scale, share)) for t in told]


def _differences(criterion: str, names: list[str], here: _Side, there: _Side) -> Iterator[dict[str, Any]]:
    """One row for each composition that has a value on both sides."""
    scale = scale_of(here.table, criterion)
    pairs = zip(names, *(side.after(names, criterion, scale) for side in (here, there)), strict=True)
    for name, own, other in pairs:
        if own.summary.mean is not None and other.summary.mean is not None:
            apart = difference(own.summary, other.summary)
            yield {
                "criterion": criterion,
                "composition": name,
                "here": own.summary.mean,
                "there": other.summary.mean,
                "difference": apart.mean,
                "difference_low": apart.low,
                "difference_high": apart.high,
                "difference_p": apart.p,
                "n_here": own.summary.n,
                "n_there": other.summary.n,
                "interval_of_here": None if apart.low is None else own.over,
                "interval_of_there": None if apart.low is None else other.over,
                "reason": "infinite on both sides" if apart.mean is None else None,
            }


def _share(own: Scale, scale: Scale) -> float | None:
    """How much of another closed range one unit of a closed range is; None where they are the same, or one is open."""
    ends = (own.low, own.high, scale.low, scale.high)
    if None in ends or ends[:2] == ends[2:]:
        return None
    low, high, other_low, other_high = (float(end or 0.0) for end in ends)
    return (other_high - other_low) / (high - low)


def _moved(summary: Summary, own: Scale, scale: Scale, share: float) -> Summary:
    """A summary in another range: a percentage beside a share."""

    def moved(value: float | None) -> float | None:
        return None if value is None else (scale.low or 0.0) + (value - (own.low or 0.0)) * share

    stderr = None if summary.stderr is None else summary.stderr * share
    return Summary(moved(summary.mean), stderr, moved(summary.low), moved(summary.high), summary.p, summary.n)


def _correlation(criterion: str, cells: pd.DataFrame) -> dict[str, Any]:
    """Whether a criterion ranks the common cells alike; ties count as such, infinity as the largest."""
    here, there = (cells[side].to_numpy(dtype=np.float64) for side in ("here", "there"))
    row: dict[str, Any] = {"criterion": criterion, "n": len(cells)}
    if len(cells) < LEAST_RANKED:
        return {**row, "reason": f"fewer than {LEAST_RANKED} common cells"}
    if len(set(here)) == 1 or len(set(there)) == 1:
        return {**row, "reason": "all cells of one side are equal"}
    from scipy import stats  # most of a second: only where it is used

    for name, correlation in (("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
        result = correlation(stats.rankdata(here), stats.rankdata(there))
        row |= {name: float(result.statistic), f"{name}_p": float(result.pvalue)}
    return row


def _rules(here: ResultTable, there: ResultTable, at: At) -> Iterator[dict[str, Any]]:
    for own, other in zip(rules(here, at).to_dict("records"), rules(there, at).to_dict("records"), strict=True):
        yield {
            "rule": own["rule"],
            "claim": own["claim"],
            "here": own["answer"],
            "there": other["answer"],
            "agree": own["answer"] == other["answer"],
            **{
                f"{name}_{side}": told[name]
                for name in ("statistic", "n", "sentence")
                for side, told in (("here", own), ("there", other))
            },
        }
