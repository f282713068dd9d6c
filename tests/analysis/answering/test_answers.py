"""In which order: a person reads the side, the size, and whether it is shown."""

from __future__ import annotations

import pytest

from rayci import analysis
from rayci.analysis.answering.answers import answers
from rayci.table import Row
from tests.analysis.synthetic_table import both_orders, row, table


def _pair(gaps: tuple[float, ...]) -> list[Row]:
    rows = []
    for replicate, gap in enumerate(gaps):
        rows += both_orders("ft", "wanda", "edit_success", {0.5: 0.5}, {0.5: 0.5 + gap}, replicate=replicate)
    return rows


@pytest.mark.parametrize(
    ("gaps", "said"),
    [
        ((0.30, 0.31, 0.29), "wanda by 0.30"),
        ((-0.30, -0.31, -0.29), "ft by 0.30"),
        ((0.001, -0.002, 0.002), "either"),
        ((0.3, -0.1, 0.2), "wanda by 0.13?"),
        ((0.3, 0.3), "wanda by 0.30?"),
    ],
)
def test_one_pair(gaps: tuple[float, ...], said: str) -> None:
    told = answers(analysis.metrics(table(_pair(gaps))))
    assert told.header == ("methods", "edit_success")
    assert told.rows == (("ft × wanda", said),)


def test_lost_points_and_criteria_that_say_nothing() -> None:
    rows = _pair((0.3, 0.31))
    rows += both_orders("ft", "wanda", "edit_success", {0.5: "out of memory"}, {0.5: 0.8}, replicate=2)
    rows += [row(text, "edit_success", value) for text, value in (("gd > rtn@4", 0.1), ("rtn@4 > gd", 0.3))]
    assert answers(analysis.metrics(table(rows))).rows == (("ft × wanda", "lost"), ("rtn × gd", "–"))


def test_one_order_has_no_answer() -> None:
    assert answers(analysis.metrics(table([row("ft > gd", "mmlu", 0.5)]))).rows == ()
