"""How robust unlearning is against quantising and relearning: the score of arXiv 2605.24614, after arXiv 2506.12618.

    Q = min(m(Q∘U) / m(U), 1)                              U unlearner, Q quantiser
    R = min((m(N) − m(L∘N)) / (m(U) − m(L∘U)), 1)          L relearning, N a model that never knew
    score = 2·Q·R / (Q + R)                                m = high − c, the distance from knowing everything

Q is 1 where quantising brings nothing back. R is 1 where relearning teaches the unlearned model no faster than one that
never knew, which the method `retrain` supplies, and where it brings back less than LEAST_SHARE of the range, a ratio of
noise; both compare on the same criterion of forgetting c.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rayci.analysis.composing.recovered import LEAST_SHARE, forgetting, recovered, top
from rayci.analysis.scan.variant import NEVER_KNEW, never_knew
from rayci.kinds import Scale
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

_WHERE = ("model", "criterion")
_UNIT = ("replicate", "seed")
_NUMBERS = ("q", "r", "score")
COLUMNS = (*_WHERE, "unlearner", "quantiser", "bits", "relearning", "strength", *_UNIT, *_NUMBERS, "reason")

Record = Mapping[Any, Any]


def robustness(table: ResultTable, criteria: Sequence[str] | None = None) -> pd.DataFrame:
    """One row for every unlearner with a quantiser and with a relearning after it, edit batch and seed.

    Columns: COLUMNS; `bits` are null for a number format; `relearning` is the trainer, `strength` its γ; `q`, `r` and
    `score` are shares from 0 to 1, larger is more robust. `r` and `score` are null with a `reason` where the table
    lacks the model that never knew, and whatever a missing value decides is. A reading without a seed or batch stands
    for all of them. `criteria` and its errors as in `recovered`.
    """
    import pandas as pd

    scales = forgetting(table, criteria)
    frame = recovered(table, criteria)
    records = [dict(row) for row in frame.astype(object).where(frame.notna(), None).to_dict("records")]
    known = [record for record in records if never_knew(record["unlearner"])]
    others = [record for record in records if not never_knew(record["unlearner"])]
    quantisers = [record for record in others if record["strength_name"] == "bits"]
    relearnings = [record for record in others if record["relearns"]]
    rows = [
        _row(quantised, relearned, next((own for own in known if _taught_alike(own, relearned)), None), scales)
        for quantised, relearned in itertools.product(quantisers, relearnings)
        if _of_one_model(quantised, relearned)
    ]
    types = {**dict.fromkeys(_UNIT, "Int64"), **dict.fromkeys(("bits", "strength", *_NUMBERS), "Float64")}
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({**types, "reason": "string"})


def _of_one_model(one: Record, other: Record) -> bool:
    """Whether both follow the same unlearning, in the same unit, and are told by the same criterion."""
    return all(one[name] == other[name] for name in (*_WHERE, "unlearner")) and _in_one_unit(one, other)


def _taught_alike(known: Record, relearned: Record) -> bool:
    """Whether the model that never knew was trained alike, in the same unit."""
    alike = all(known[name] == relearned[name] for name in (*_WHERE, "then", "strength"))
    return alike and _in_one_unit(known, relearned)


def _in_one_unit(one: Record, other: Record) -> bool:
    """Whether edit batch and seed are the same; without one, a record stands for all."""
    return all(None in (one[name], other[name]) or one[name] == other[name] for name in _UNIT)


def _row(quantised: Record, relearned: Record, known: Record | None, scales: Mapping[str, Scale]) -> dict[str, Any]:
    scale = scales[quantised["criterion"]]
    high, least = top(scale), LEAST_SHARE * (scale.width or 0.0)
    q, r = _kept(quantised, high), None if known is None else _learned_no_faster(relearned, known, least)
    reasons = [] if known else [f"no {NEVER_KNEW} > {relearned['then']} in the table: a model that never knew"]
    reasons += [record["reason"] for record in (quantised, relearned, known) if record and None in _ends(record)]
    return {
        **{name: quantised[name] for name in (*_WHERE, "unlearner")},
        **{name: relearned[name] if quantised[name] is None else quantised[name] for name in _UNIT},
        "quantiser": quantised["then"],
        "bits": quantised["strength"],
        "relearning": relearned["then"],
        "strength": relearned["strength"],
        "q": q,
        "r": r,
        "score": None if q is None or r is None else 2 * q * r / (q + r) if q + r else 0.0,
        "reason": "; ".join(reasons) or None,
    }


def _kept(record: Record, high: float) -> float | None:
    """Q; None where a value is missing, or where all is known after unlearning."""
    before, after = _ends(record)
    if before is None or after is None or before >= high:
        return None
    return min((high - after) / (high - before), 1.0)


def _learned_no_faster(relearned: Record, known: Record, least: float) -> float | None:
    """R; None where a value is missing. What relearning takes less than `least` from is robust."""
    (never, taught), (before, after) = _ends(known), _ends(relearned)
    if never is None or taught is None or before is None or after is None:
        return None
    taught, brought_back = max(taught - never, 0.0), after - before
    return min(taught / brought_back, 1.0) if brought_back >= least else 1.0


def _ends(record: Record) -> tuple[float | None, float | None]:
    """What is known after unlearning, and after what followed."""
    return record["unlearned"], record["unlearned_then"]
