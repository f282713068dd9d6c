"""The columnar engine gives what analysis one cell after the other gives, on random tables."""

from __future__ import annotations

from dataclasses import astuple
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rayci import analysis
from rayci.table import ResultTable
from tests.analysis.oracle import curve, epsilon, metric_table
from tests.analysis.random_table import random_table

SEEDS = [6, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6))]
READINGS: tuple[dict[str, Any], ...] = (
    {},
    {"size": 3},
    {"at": "published"},
    {"axis": "gamma"},
    {"axis": "avg_bits"},
    {"along": "rtn"},
    {"within": {"mmlu": 0.3, "wmdp": 0.4}, "criteria": ["edit_success", "privleak", "fluency"]},
)


@cache
def made(seed: int) -> ResultTable:
    return random_table(seed)


def assert_same(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    assert list(ours.columns) == list(theirs.columns)
    assert ours.dtypes.equals(theirs.dtypes)
    for name in theirs.columns:
        if pd.api.types.is_float_dtype(theirs[name]):
            numbers = [frame[name].to_numpy(np.float64, na_value=np.nan) for frame in (ours, theirs)]
            np.testing.assert_allclose(*numbers, rtol=1e-12, atol=1e-12, err_msg=name)
        else:
            assert ours[name].tolist() == theirs[name].tolist() or ours[name].equals(theirs[name]), name


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("reading", READINGS, ids=str)
def test_metrics(seed: int, reading: dict[str, Any]) -> None:
    assert_same(analysis.metrics(made(seed), **reading), metric_table.metrics(made(seed), **reading))


@pytest.mark.parametrize("seed", SEEDS)
def test_curves(seed: int) -> None:
    ours, theirs = analysis.curves(made(seed)), curve.curves(made(seed))
    assert sorted(repr(astuple(each)) for each in ours) == sorted(repr(astuple(each)) for each in theirs)


@pytest.mark.parametrize("seed", SEEDS)
def test_shares(seed: int) -> None:
    epsilons = {"edit_success": 0.4, "mmlu": 0.6}
    assert_same(analysis.composable_share(made(seed), epsilons), epsilon.composable_share(made(seed), epsilons))
