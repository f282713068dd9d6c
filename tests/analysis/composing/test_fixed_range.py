"""Areas over a fixed range of γ: cut between points, the same for all, and refused where a sweep does not reach."""

from __future__ import annotations

import pandas as pd
import pytest

from rayci import analysis
from rayci.errors import RequestError
from tests.analysis.synthetic_table import both_orders, row, table

FIRST = {2: 0.2, 4: 0.6, 8: 1.0}
SECOND = {2: 0.4, 4: 0.6, 8: 0.6}
ROWS = both_orders("ft", "rtn", "mmlu", FIRST, SECOND)


def _cell(**options: object) -> dict[str, object]:
    (cell,) = analysis.metrics(table(ROWS), **options).to_dict("records")  # type: ignore[arg-type]
    return {key: None if pd.isna(value) else value for key, value in cell.items()}


def test_by_hand() -> None:
    # 3 to 6 bits: ft > rtn from .4 to .6 to .8, rtn > ft from .5 to .6 to .6
    cell = _cell(over={"bits": (3, 6)})
    first, second = (0.5 * 1 + 0.7 * 2) / 3, (0.55 * 1 + 0.6 * 2) / 3
    assert cell["value_ij"] == pytest.approx(first) and cell["value_ji"] == pytest.approx(second)
    assert cell["order_free_error"] == pytest.approx(1 - (0.55 * 1 + 0.7 * 2) / 3)
    assert cell["order_sensitivity"] == pytest.approx((0.05 * 1 + 0.1 * 2) / 3)
    assert (cell["kept_low"], cell["kept_high"], cell["n_points"]) == (3.0, 6.0, 1)
    assert cell["reason"] == "left out at bits 2, 8: outside of bits 3 to 6"


def test_on_the_raw_axis_the_width_counts() -> None:
    assert _cell(over={"rtn": (3, 6)}, axis="gamma")["order_sensitivity"] == pytest.approx(0.25)


def test_the_whole_sweep_is_the_area() -> None:
    whole, area = _cell(over={"bits": (2, 8)}), _cell()
    assert whole["gap"] == pytest.approx(area["gap"]) and whole["order_free_error"] == area["order_free_error"]


def test_together_with_a_bound() -> None:
    rows = [row("", "mmlu", 1.0), *ROWS]
    # both orders within .5 of 1: from 3 bits on (.5 is at 3.5 bits of ft > rtn)
    (cell,) = analysis.metrics(table(rows), within={"mmlu": 0.5}, over={"bits": (2, 6)}).to_dict("records")
    assert (cell["kept_low"], cell["kept_high"]) == (3.5, 6.0)


def test_a_set_without_that_axis_keeps_its_own() -> None:
    rows = [*ROWS, *both_orders("ft", "wanda", "mmlu", {0.2: 0.5, 0.6: 0.7}, {0.2: 0.5, 0.6: 0.9})]
    frame = analysis.metrics(table(rows), over={"bits": (3, 6)})
    assert list(frame["kept_low"]) == [3.0, 0.2] and frame["gap"][1] == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ((1, 6), "rtn ran from 2 to 8, not over the whole of bits 1 to 6"),
        ((5, 6), "no point of rtn lies in bits 5 to 6"),
    ],
)
def test_what_a_sweep_does_not_cover_has_no_area(over: tuple[float, float], reason: str) -> None:
    cell = _cell(over={"bits": over})
    assert (cell["gap"], cell["n_points"], cell["reason"]) == (None, 0, reason)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"over": {"bitz": (3, 8)}}, "nothing named 'bitz'"),
        ({"over": {"bits": (8, 3)}}, "bits over 8 to 3"),
        ({"over": {"bits": (3, float("inf"))}}, "bits over 3 to inf"),
        ({"over": {"bits": (3, 8)}, "at": "middle"}, "a range of γ at middle"),
    ],
)
def test_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        _cell(**options)
