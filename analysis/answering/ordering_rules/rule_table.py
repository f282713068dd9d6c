"""Which of the fourteen ordering rules hold in a table, with the numbers, and where they disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rayci.analysis.answering.ordering_rules.catalogue import RULES, Rule
from rayci.analysis.answering.ordering_rules.compared import Compared, Judged
from rayci.analysis.answering.ordering_rules.judgement import Answer, Part, together
from rayci.analysis.scan.reading_point import At
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "rule", "claim", "source", "answer", "statistic", "low", "high", "n", "n_of", "sentence", "disagrees_with",
)  # fmt: skip


def rules(table: ResultTable, at: At = "area") -> pd.DataFrame:
    """The fourteen claims of the literature about order, asked of one table: one row for each.

    `at`: where pairs are compared, as in `metrics`; rules that name bits are read there. `answer`: yes, no or
    undecided; a claim of several parts holds where all do and fails where one does. `statistic` is that of the part
    that decides, a mean in shares of the criteria's ranges (or what `sentence` says), with its 95 % Student-t interval
    over `n` `n_of`: `units` (edit batches, or seeds) where all comparisons have the same three or more, else
    `comparisons`, each one pair of compositions and criterion. `sentence` has the numbers of every part, and what the
    table lacks. `disagrees_with`: rules that hold here too and let the other method of a pair go first. Of a table of
    several models only rules 9 and 10, which compare within each, are asked.
    """
    import pandas as pd

    compared = Compared(table, at)
    judged = {rule.number: _judged(rule, compared) for rule in RULES}
    answers = {number: together(told.parts) for number, told in judged.items()}
    rows = [
        _row(rule, judged[rule.number], answers[rule.number])
        | {"disagrees_with": _disagreements(rule.number, judged, answers) or None}
        for rule in RULES
    ]
    types = dict.fromkeys(("statistic", "low", "high"), "Float64") | {"rule": "int64", "n": "Int64"}
    texts = dict.fromkeys(("claim", "source", "answer", "n_of", "sentence", "disagrees_with"), "string")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({**types, **texts})


def _judged(rule: Rule, compared: Compared) -> Judged:
    models = len(compared.table.arrow.column("model").unique())
    if models == 1 or rule.across_models:
        return rule.judge(compared)
    return Judged([Part(f"one model of the {models} at a time", Answer.UNDECIDED)])


def _row(rule: Rule, judged: Judged, answer: Answer) -> dict[str, Any]:
    deciding = next(part for part in judged.parts if part.answer is answer)
    lacks = f"; needs {rule.needs}" if any(part.statistic is None for part in judged.parts) else ""
    return {
        "rule": rule.number,
        "claim": rule.claim,
        "source": rule.source,
        "answer": str(answer),
        "statistic": deciding.statistic,
        "low": deciding.low,
        "high": deciding.high,
        "n": deciding.n,
        "n_of": deciding.of,
        "sentence": "; ".join(map(str, judged.parts)) + lacks,
    }


def _disagreements(number: int, judged: Mapping[int, Judged], answers: Mapping[int, Answer]) -> str:
    """Other rules that hold and favour another method of the same pairs, with these."""
    if answers[number] is not Answer.YES:
        return ""
    texts = []
    for other, told in judged.items():
        pairs = [
            " × ".join(sorted(pair))
            for pair, first in judged[number].favours.items()
            if answers[other] is Answer.YES and told.favours.get(pair, first) != first
        ]
        if pairs:
            texts.append(f"rule {other} on {', '.join(sorted(pairs))}")
    return "; ".join(texts)
