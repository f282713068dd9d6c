"""Gaps of what was measured once: paired items where both orders answered the same ones, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rayci import analysis, item_values
from rayci.analysis.statistics.item_pairs import paired
from rayci.analysis.statistics.verdicts import MATTERS
from rayci.item_values import ItemRow, Items
from rayci.table import ResultTable, Row
from tests.analysis.synthetic_table import both_orders, row, table

GAMMAS = (2.0, 3.0, 8.0)
AREA = np.array([1.0, 6.0, 5.0]) / 12
"""What each γ counts in the area."""


def with_items(rows: Iterable[Row], items: Iterable[Items], path: Path) -> ResultTable:
    """A table whose rows have these items, and their means as values."""
    rows, items = list(rows), list(items)
    named = ("stage_fingerprint", "criterion", "criterion_fingerprint", "replicate", "seed")
    kept = [
        ItemRow(**{name: getattr(each, name) for name in named}, item="question", items=own)
        for each, own in zip(rows, items, strict=True)
    ]
    item_values.write(kept, path)
    return replace(table(rows), item_files=(path,))


def right(seed: int, count: int = 60) -> dict[tuple[str, float], Items]:
    """Right or wrong after each order and γ."""
    draw = np.random.default_rng(seed)
    return {
        (order, gamma): Items(tuple(map(float, draw.random(count) < 0.4 + gamma / 30 + (order == "second") / 4)))
        for order in ("first", "second")
        for gamma in GAMMAS
    }


def measured(items: dict[tuple[str, float], Items], criterion: str = "wmdp", **fields: Any) -> list[Row]:
    """The rows of both orders of gd and rtn, in the order of the items."""
    values = [{gamma: items[order, gamma].mean for gamma in GAMMAS} for order in ("first", "second")]
    if criterion == "perplexity":
        values = [{gamma: float(np.exp(value)) for gamma, value in own.items()} for own in values]
    return both_orders("gd", "rtn", criterion, *values, **fields)


def only(frame: pd.DataFrame) -> dict[str, Any]:
    assert len(frame) == 1
    return {key: None if pd.isna(value) else value for key, value in frame.iloc[0].to_dict().items()}


def test_the_gap_s_interval_is_that_of_paired_questions(tmp_path: Path) -> None:
    items = right(1)
    cell = only(analysis.metrics(with_items(measured(items), items.values(), tmp_path / "i.parquet")))
    bare = only(analysis.metrics(table(measured(items))))
    assert bare["interval_of"] is None and bare["gap_low"] is None
    assert cell["interval_of"] == "items" and cell["n_replicates"] == 1
    areas = [
        sum(w * np.array(items[o, g].values) for w, g in zip(AREA, GAMMAS, strict=True)) for o in ("first", "second")
    ]
    sign = 1 if cell["method_i"] == "gd" else -1
    difference = sign * (areas[0] - areas[1])
    assert cell["gap"] == pytest.approx(bare["gap"]) == pytest.approx(difference.mean())
    interval = paired(difference, float(np.linalg.norm(AREA)))
    assert (cell["gap_low"], cell["gap_high"], cell["gap_p"]) == pytest.approx(
        (interval.low, interval.high, interval.p)
    )
    assert cell["verdict"] == MATTERS
    for metric in ("order_free_error", "order_sensitivity"):
        assert cell[metric] == bare[metric] and bare[f"{metric}_low"] is None
        assert 0 < cell[f"{metric}_low"] < cell[metric] < cell[f"{metric}_high"] < 1


def test_at_one_gamma_the_p_is_mcnemar_s(tmp_path: Path) -> None:
    items = right(2)
    cell = only(analysis.metrics(with_items(measured(items), items.values(), tmp_path / "i.parquet"), at=3))
    first, second = (np.array(items[order, 3.0].values) for order in ("first", "second"))
    only_first, only_second = int((first > second).sum()), int((second > first).sum())
    assert cell["gap_p"] == pytest.approx(stats.binomtest(only_first, only_first + only_second).pvalue)


def test_where_every_order_is_infinite_items_say_nothing(tmp_path: Path) -> None:
    draw = np.random.default_rng(6)
    items = {key: Items(tuple(draw.normal(1.2, 0.2, 24))) for key in right(0)}
    for order in ("first", "second"):
        items[order, 2.0] = Items((np.inf,) * 24)
    cell = only(analysis.metrics(with_items(measured(items, "perplexity"), items.values(), tmp_path / "i.parquet")))
    assert (cell["interval_of"], cell["sensitivity_points"]) == ("items", 2)
    items["first", 2.0] = Items((1.0,) * 24)
    cell = only(analysis.metrics(with_items(measured(items, "perplexity"), items.values(), tmp_path / "j.parquet")))
    assert cell["interval_of"] is None and np.isinf(cell["gap"])


@pytest.mark.parametrize("at", ["area", 3])
def test_perplexities_are_ratios_of_their_pieces(at: Any, tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    tokens = tuple(map(float, draw.integers(40, 128, 24)))
    items = {key: Items(tuple(draw.normal(1.2, 0.2, 24)), tokens) for key in right(0)}
    found = with_items(measured(items, "perplexity"), items.values(), tmp_path / "i.parquet")
    cell = only(analysis.metrics(found, at=at))
    assert cell["interval_of"] == "items"
    assert cell["gap_low"] < cell["gap"] < cell["gap_high"]
    assert cell["unit"] == ("ln perplexity" if at == "area" else "")


def changed_items(change: str, items: dict[tuple[str, float], Items]) -> list[Items]:
    kept = list(items.values())
    match change:
        case "one is missing":
            kept.pop()
        case "another number":
            kept[0] = Items(kept[0].values + kept[0].values)
        case "do not make the value":
            kept[0] = Items(tuple(1 - value for value in kept[0].values))
        case "other weights":
            kept[0] = Items(kept[0].values, tuple([1.0] * 60))
    return kept


@pytest.mark.parametrize("change", ["one is missing", "another number", "do not make the value", "other weights"])
def test_items_that_cannot_be_paired_give_no_interval(change: str, tmp_path: Path) -> None:
    items = right(3)
    kept = changed_items(change, items)
    rows = measured(items)
    found = replace(with_items(rows[: len(kept)], kept, tmp_path / "i.parquet"), rows=table(rows).arrow)
    cell = only(analysis.metrics(found))
    assert (cell["interval_of"], cell["gap_low"], cell["gap_p"]) == (None, None, None)
    assert cell["gap"] is not None


def test_questions_of_another_draw_are_not_paired(tmp_path: Path) -> None:
    items = right(4)
    rows = measured(items)
    rows[0] = replace(rows[0], criterion_fingerprint="another draw")
    cell = only(analysis.metrics(with_items(rows, items.values(), tmp_path / "i.parquet")))
    assert cell["interval_of"] is None


def test_where_batches_replicate_items_are_not_asked(tmp_path: Path) -> None:
    items = right(6)
    rows = [each for replicate in range(3) for each in measured(items, replicate=replicate)]
    (tmp_path / "i.parquet").write_bytes(b"damaged, and never read")
    found = replace(table(rows), item_files=(tmp_path / "i.parquet",))
    assert only(analysis.metrics(found))["interval_of"] == "replicates"


def test_one_batch_with_several_seeds_averages_its_items(tmp_path: Path) -> None:
    seeds = [right(seed) for seed in (7, 8)]
    rows = [each for seed, items in enumerate(seeds) for each in measured(items, replicate=0, seed=seed)]
    kept = [own for items in seeds for own in items.values()]
    cell = only(analysis.metrics(with_items(rows, kept, tmp_path / "i.parquet")))
    assert (cell["interval_of"], cell["n_replicates"]) == ("items", 1)
    averaged = {key: Items(tuple(np.mean([items[key].values for items in seeds], axis=0))) for key in seeds[0]}
    once = only(analysis.metrics(with_items(measured(averaged), averaged.values(), tmp_path / "j.parquet")))
    assert (cell["gap"], cell["gap_low"], cell["gap_p"]) == pytest.approx((once["gap"], once["gap_low"], once["gap_p"]))


def test_three_orders_and_more_have_a_p_over_items(tmp_path: Path) -> None:
    draw, chains = np.random.default_rng(9), ["gd > ft > rtn@4", "gd > rtn@4 > ft", "ft > gd > rtn@4"]
    chains += ["ft > rtn@4 > gd", "rtn@4 > gd > ft", "rtn@4 > ft > gd"]
    items = [Items(tuple(map(float, draw.random(80) < 0.3 + 0.1 * place))) for place in range(6)]
    rows = [row(chain, "wmdp", own.mean) for chain, own in zip(chains, items, strict=True)]
    cell = only(analysis.metrics(with_items(rows, items, tmp_path / "i.parquet"), size=3))
    assert cell["interval_of"] == "items" and cell["verdict"] == MATTERS
