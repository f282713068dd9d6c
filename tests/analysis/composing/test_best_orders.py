"""The permutations by rank: at each γ, overall, and what separates the first two."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd
import pytest

from rayci import analysis
from tests.analysis.synthetic_table import row, table

GAMMAS = (0.0, 1.0)


def _ranks(ends: dict[str, tuple[float, float]], criterion: str = "mmlu", units: int = 1) -> list[dict[str, Any]]:
    """Three methods of which the orders in `ends` run from one value at γ 0 to another at γ 1."""
    rows = []
    for (order, values), k in itertools.product(ends.items(), range(units)):
        for gamma, value in zip(GAMMAS, values, strict=True):
            chain = order.replace("wanda", f"wanda@{gamma:g}")
            fields = {} if units == 1 else {"replicate": k}
            rows.append(row(chain, criterion, value + k / 100 * (order[0] == "w"), **fields))
    frame = analysis.ranked_orders(table(rows), size=3)
    return [
        {key: None if pd.isna(value) else value for key, value in record.items()} for record in frame.to_dict("records")
    ]


CROSSING = {"ft > wanda > gd": (0.0, 1.0), "wanda > ft > gd": (1.0, 0.0), "gd > ft > wanda": (0.7, 0.7)}


def test_at_each_strength_and_overall() -> None:
    area, start, end = _ranks(CROSSING)
    assert (area["strength"], start["strength"], end["strength"]) == (None, 0.0, 1.0)
    assert (area["best_order"], area["best_value"]) == ("gd > ft > wanda", pytest.approx(0.7))
    assert (area["lead"], area["lead_over_worst"]) == (pytest.approx(0.2), pytest.approx(0.2))
    assert (area["second_order"], area["worst_order"]) == (None, None)  # both have the area .5
    assert (start["best_order"], start["second_order"], start["worst_order"]) == (
        "wanda > ft > gd", "gd > ft > wanda", "ft > wanda > gd",
    )  # fmt: skip
    assert (end["best_order"], end["lead"]) == ("ft > wanda > gd", pytest.approx(0.3))
    assert (area["orders_run"], area["orders_asked"]) == (3, 6)


def test_closer_to_zero_is_ranked_by_distance_in_closed_form() -> None:
    # |2γ − 1| has the mean ½, as 1 − γ has, although its curve has the mean 0
    ends = {"ft > wanda > gd": (-1.0, 1.0), "wanda > ft > gd": (1.0, 0.0), "gd > ft > wanda": (0.7, 0.7)}
    area, *_ = _ranks(ends, "privleak")
    assert area["best_order"] is None
    assert (area["lead"], area["lead_over_worst"]) == (pytest.approx(0.0, abs=1e-12), pytest.approx(0.2))
    assert area["worst_order"] == "gd > ft > wanda"


def test_the_lead_has_an_interval_over_batches() -> None:
    area, *_ = _ranks({"wanda > ft > gd": (0.8, 0.8), "ft > wanda > gd": (0.5, 0.5)}, units=3)
    assert area["lead"] == pytest.approx(0.31)
    assert area["lead_low"] == pytest.approx(0.31 - 4.302652729911275 * 0.01 / 3**0.5)
    assert area["interval_of"] == "replicates"


def test_one_order_has_no_rank() -> None:
    area, *_ = _ranks({"ft > wanda > gd": (0.0, 1.0)})
    assert (area["best_order"], area["lead"], area["reason"]) == (None, None, "one order only")
