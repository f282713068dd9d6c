"""Limits of a run: which trials are still handed out, and what a run says that stopped at one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from rayci.errors import RequestError
from rayci.planning.resources import Resources
from rayci.trials import Knobs, launch
from rayci.trials.limits import Budget, Limits, time_of
from rayci.units import HOUR
from tests.command_line import rayci

from .conftest import comparable

NOW = datetime(2026, 3, 5, 14, 30, tzinfo=timezone(timedelta(hours=1)))


@dataclass
class Watch:
    """Time that a test sets."""

    now: float = 1e9

    def __call__(self) -> float:
        return self.now


def test_hours_admit_what_ends_in_time_at_the_pace_so_far() -> None:
    watch = Watch()
    budget = Budget(Limits(hours=1), lambda index: 600.0 * index, lambda _: 0.0, watch)
    assert budget.admits(6) and not budget.admits(7)
    budget.begin(1)
    watch.now += 1200
    budget.end(1, seconds=1200, whole=True)  # twice as long as foreseen
    assert budget.admits(2) and not budget.admits(3)


def test_the_earlier_of_hours_and_deadline_counts() -> None:
    watch = Watch()
    budget = Budget(Limits(hours=2, deadline=watch.now + HOUR), lambda _: HOUR, lambda _: 0.0, watch)
    assert budget.admits(0)
    watch.now += 1
    assert not budget.admits(0)


def test_cost_counts_what_was_spent_and_what_running_trials_will() -> None:
    budget = Budget(Limits(cost=10, price=2), lambda _: HOUR, lambda index: float(index), Watch())
    assert budget.admits(5) and not budget.admits(6)  # 2 USD an hour on each GPU
    budget.begin(2)
    assert budget.admits(3) and not budget.admits(4)
    budget.end(2, seconds=HOUR / 2, whole=True)  # 2 USD; from now on trials are thought to take half an hour
    assert budget.admits(8) and not budget.admits(9)
    budget.begin(8)
    budget.end(8, seconds=None, whole=False)  # its worker died: it cost what was foreseen
    assert budget.spent * 2 / HOUR == 10


def test_a_trial_that_was_cut_short_costs_what_it_took_and_tells_no_pace() -> None:
    budget = Budget(Limits(cost=10, price=2), lambda _: HOUR, lambda index: float(index), Watch())
    budget.begin(1)
    budget.end(1, seconds=HOUR / 100, whole=False)  # out of memory at its first stage
    assert budget.spent == HOUR / 100
    assert budget.admits(4) and not budget.admits(5)  # still an hour each


def test_a_price_alone_limits_nothing() -> None:
    assert not Limits(price=2).limiting and Limits(price=2, hours=1).limiting


def test_what_is_left_is_told_in_hours_and_money() -> None:
    budget = Budget(Limits(cost=1, price=2), lambda _: 3 * HOUR, lambda _: 0.5, Watch())
    assert budget.left([4, 5]).endswith("would not have ended within the limit: about 3 GPU-hours, 6.00 USD")
    without = Budget(Limits(hours=1), lambda _: 3 * HOUR, lambda _: 0.0, Watch())
    assert without.left([4]).endswith("about 3.0 h of work")
    seconds = Budget(Limits(hours=1), lambda _: 1.25, lambda _: 0.0, Watch())
    assert seconds.left([4]).endswith("about 1.25 s of work")


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2026-03-06T08:00", datetime(2026, 3, 6, 8, tzinfo=NOW.tzinfo)),
        ("2026-03-05T14:00+00:00", datetime(2026, 3, 5, 15, tzinfo=NOW.tzinfo)),
        ("15:00", datetime(2026, 3, 5, 15, tzinfo=NOW.tzinfo)),
        ("14:30", datetime(2026, 3, 6, 14, 30, tzinfo=NOW.tzinfo)),
    ],
)
def test_a_deadline_is_a_date_or_the_next_time_of_day(text: str, when: datetime) -> None:
    assert time_of(text, NOW) == when


@pytest.mark.parametrize("text", ["tomorrow", "25:00", "2026-03-05T14:30", ""])
def test_a_deadline_that_is_over_or_none_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="--deadline"):
        time_of(text, NOW)


@pytest.mark.parametrize(
    ("knobs", "resources", "said"),
    [
        (Knobs(max_cost=5), Resources(), "no trial reserves a GPU"),
        (Knobs(max_cost=5), Resources(gpus=1), "no GPU has a price"),
        (Knobs(max_cost=0), Resources(gpus=1, gpu_hour_price=2), "--max-cost 0"),
        (Knobs(max_hours=-1), Resources(), "--max-hours -1"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused(knobs: Knobs, resources: Resources, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        Limits.of(knobs, resources)


def test_a_run_stops_at_its_limit_and_the_same_command_goes_on(
    ten_trials: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out, two = tmp_path / "run", ["rtn@4 > gd", "gd > rtn@4"]
    only = [word for text in two for word in ("--only", text)]
    said = rayci("run", str(ten_trials), "--out", str(out), *only, "--max-hours", "1e-7", "--quiet")
    assert said.returncode == 3, said.stderr
    assert "2 trials are left" in said.stderr and "--max-hours 1e-07" in said.stderr
    done = launch(ten_trials, out=out, only=two, max_hours=1)
    assert done.complete and not done.left
    found, expected = comparable(out), comparable(undisturbed)
    assert found.equals(expected[expected["chain"].isin(found["chain"])].reset_index(drop=True))
