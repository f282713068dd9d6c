"""Needs as text, and how values with intervals keep them."""

from __future__ import annotations

import pytest

from rayci.analysis.answering.chains import Ending
from rayci.analysis.answering.needs import Estimate, need, quantity
from rayci.analysis.statistics.intervals import Summary
from rayci.errors import RequestError
from tests.analysis.synthetic_table import SCALES


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("wmdp<=0.30", ("wmdp", True, 0.3)),
        (" edit_success >= .9 ", ("edit_success", False, 0.9)),
        ("avg_bits≤4.5", ("avg_bits", True, 4.5)),
        ("abs(privleak)<=1e1", ("abs(privleak)", True, 10.0)),
        ("|privleak|<=10", ("abs(privleak)", True, 10.0)),
    ],
)
def test_read(text: str, read: tuple[str, bool, float]) -> None:
    held = need(text, SCALES)
    assert (str(held.quantity), held.at_most, held.bound) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wmdp", "cannot read the need"),
        ("wmdp=0.3", "cannot read the need"),
        ("wmdp<0.3", "cannot read the need"),
        ("<=0.3", "cannot read the need"),
        ("0.1<=wmdp<=0.3", "no criterion '0.1<=wmdp'"),
        ("wmdp<=low", "cannot read the number"),
        ("wmdp<=nan", "has no bound"),
        ("wmdp<=inf", "has no bound"),
        ("wmpd<=0.3", "no criterion 'wmpd' in the table"),
        ("privleak<=10", "best at 0"),
    ],
)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(RequestError, match=said) as refusal:
        need(text, SCALES)
    assert len(str(refusal.value).splitlines()) <= 4


@pytest.mark.parametrize(
    ("text", "estimate", "met", "shown"),
    [
        ("wmdp<=0.3", Estimate(0.25, 0.2, 0.3), True, True),
        ("wmdp<=0.3", Estimate(0.25, 0.1, 0.4), True, False),
        ("wmdp<=0.3", Estimate(0.35, 0.3, 0.4), False, False),
        ("wmdp<=0.3", Estimate(0.25, None, None), True, False),
        ("wmdp<=0.3", Estimate(None, None, None), False, False),
        ("wmdp<=0.3", Estimate((0.1 + 0.2), 0.1, 0.1 + 0.2), True, True),
        ("edit_success>=0.9", Estimate(0.95, 0.9, 1.0), True, True),
        ("edit_success>=0.9", Estimate(0.95, 0.85, 1.0), True, False),
    ],
)
def test_met_by_the_mean_and_shown_by_the_end_of_the_interval(
    text: str, estimate: Estimate, met: bool, shown: bool
) -> None:
    held = need(text, SCALES)
    assert (held.met(estimate), held.shown(estimate)) == (met, shown)


def _ending(mean: float, low: float | None, high: float | None) -> Ending:
    return Ending({0: mean}, "replicates", Summary(mean, None, low, high, None, 3), None)


@pytest.mark.parametrize(
    ("name", "ending", "estimate"),
    [
        ("abs(privleak)", _ending(-5.0, -8.0, -2.0), Estimate(5.0, 2.0, 8.0)),
        ("abs(privleak)", _ending(1.0, -3.0, 5.0), Estimate(1.0, 0.0, 5.0)),
        ("wmdp", _ending(0.95, 0.85, 1.05), Estimate(0.95, 0.85, 1.0)),
        ("wmdp", _ending(0.95, None, None), Estimate(0.95, None, None)),
        ("avg_bits", _ending(4.25, None, None), Estimate(4.25, 4.25, 4.25)),
    ],
)
def test_quantities(name: str, ending: Ending, estimate: Estimate) -> None:
    assert quantity(name, SCALES, "--need").of(ending) == estimate
