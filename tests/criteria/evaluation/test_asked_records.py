"""Strata against counts by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from rayci.criteria.evaluation.asked_records import stratified


def test_every_stratum_keeps_its_share() -> None:
    records = [("b", number) for number in range(60)] + [("a", number) for number in range(30)] + [("b", 60)] * 10
    chosen = stratified(records, 20, lambda record: record[0])
    assert Counter(name for name, _ in chosen) == {"a": 6, "b": 14}
    assert list(chosen) == sorted(chosen, key=records.index), "in the order of the data"
    assert max(number for name, number in chosen if name == "a") > 20, "spread, not the first"


@pytest.mark.parametrize(("limit", "count"), [(None, 7), (7, 7), (100, 7), (1, 1), (5, 5)])
def test_a_limit_is_the_number_of_records(limit: int | None, count: int) -> None:
    records = list(range(7))
    chosen = stratified(records, limit, lambda record: str(record % 3))
    assert len(set(chosen)) == len(chosen) == count
