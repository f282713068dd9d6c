"""Text forms: exact columns, numbers that read back bit for bit, missing as missing."""

from __future__ import annotations

import csv
import io
import json
import math

import pandas as pd
import pytest

from rayci import analysis
from rayci.analysis.text import tables
from rayci.analysis.text.win_pivot import win_pivot
from tests.analysis.synthetic_table import both_orders, table


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rows = both_orders("ft", "wanda", "edit_success", {0.25: 0.1, 0.5: 0.3}, {0.25: 0.7, 0.5: "diverged"})
    rows += both_orders("ft", "wanda", "perplexity", {0.25: 3.0, 0.5: float("inf")}, {0.25: 4.0, 0.5: float("inf")})
    rows += both_orders("ft", "rtn", "edit_success", {4: 0.1}, {})
    return analysis.metrics(table(rows))


def test_csv_has_exactly_the_eight_columns(frame: pd.DataFrame) -> None:
    header = "criterion,method_i,method_j,strength,order_free_error,order_sensitivity,n_points,n_replicates"
    assert tables.to_csv(frame).splitlines()[0] == header


def test_csv_reads_back_bit_for_bit_and_missing_is_empty(frame: pd.DataFrame) -> None:
    records = list(csv.DictReader(io.StringIO(tables.to_csv(frame))))
    assert [record["method_j"] for record in records] == ["rtn", "wanda", "rtn", "wanda"]
    assert records[0]["order_free_error"] == ""
    assert records[0]["n_points"] == "0"
    assert float(records[1]["order_free_error"]) == 1.0 - 0.7
    assert records[3]["order_free_error"] == "inf"
    assert float(records[3]["order_sensitivity"]) == math.log(4.0) - math.log(3.0)
    assert tables.to_csv(frame) == tables.to_csv(frame.copy())


def test_all_columns_on_request(frame: pd.DataFrame) -> None:
    header = tables.to_csv(frame, all_columns=True).splitlines()[0].split(",")
    assert header == list(frame.columns)
    assert "order_free_error_low" in header
    assert header[-1] == "reason"


def test_json_is_strict(frame: pd.DataFrame) -> None:
    def refuse(text: str) -> None:
        raise AssertionError(text)

    records = json.loads(tables.to_json(frame), parse_constant=refuse)
    assert records[0]["order_free_error"] is None
    assert records[3]["order_free_error"] == "inf"
    assert list(records[0]) == list(frame.columns[:8])


def test_pivot(frame: pd.DataFrame) -> None:
    found = tables.pivot(frame)
    assert found.header == ("methods", "edit_success", "ln perplexity", "points", "n")
    assert found.rows == (
        ("ft × rtn", "– | –", "– | –", "0", "0"),
        ("ft × wanda", "0.30 | 0.60", "∞ | 0.29", "1/2, 2/2", "1"),
    )
    assert "n = 1 replicate: no intervals" in found.notes
    assert "ft × wanda: wanda > ft at sparsity 0.5: diverged [edit_success]" in found.notes


def test_markdown_and_latex_escape(frame: pd.DataFrame) -> None:
    markdown = tables.to_markdown(frame)
    assert "| ft × wanda | 0.30 \\| 0.60 |" in markdown
    latex = tables.to_latex(frame)
    assert r"edit\_success" in latex
    assert r"ft $\times$ wanda & 0.30 $\mid$ 0.60" in latex


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.005, "0.01"),
        (-0.001, "0.00"),
        (12.345, "12.35"),
        (345.67, "345.7"),
        (80738.2, "80738"),
        (2.8e31, "2.8e+31"),
    ],
)
def test_short_numbers(value: float | None, text: str) -> None:
    assert tables.short(value) == text


def test_intervals_stand_in_a_table_of_lines(frame: pd.DataFrame) -> None:
    rows = [(value, k) for k, value in enumerate((0.3, 0.4, 0.5))]
    paired = [both_orders("ft", "wanda", "mmlu", {0.5: 0.2}, {0.5: value}, replicate=k) for value, k in rows]
    told = tables.with_intervals(analysis.metrics(table([row for rows in paired for row in rows])))
    assert told.header == ("methods", "order-free error", "order sensitivity", "points", "n", "interval over")
    assert told.rows == (
        ("ft × wanda", "", "", "", "", ""),
        ("  mmlu", "0.60 [0.35, 0.85]", "0.20 [0.00, 0.45]", "1/1", "3", "batches"),
    )
    lost = tables.with_intervals(frame)
    assert lost.header[-2:] == ("error between", "sensitivity between")
    assert "  ln perplexity" in [line[0] for line in lost.rows]
    assert ("  edit success", "0.30", "0.60", "1/2", "1", "–", "[0.15, 0.60]", "[0.20, 0.65]") in lost.rows


def test_tables_of_several_sizes_become_one() -> None:
    rows = both_orders("ft", "wanda", "mmlu", {0.5: 0.2}, {0.5: 0.3})
    pairs = analysis.metrics(table(rows))
    triples = analysis.metrics(table([*rows, *both_orders("ft > gd", "wanda", "mmlu", {0.5: 0.2}, {})]), size=3)
    whole = tables.stacked([pairs, triples])
    assert list(whole.columns[:5]) == ["criterion", "method_i", "method_j", "method_k", "strength"]
    first, _ = csv.DictReader(io.StringIO(tables.to_csv(whole)))
    assert first["method_k"] == ""


def test_wins_stand_in_lines_below_their_contest() -> None:
    rows = both_orders("ft", "wanda", "mmlu", {0.5: 0.9}, {0.5: 0.8})
    rows += both_orders("memit", "wanda", "mmlu", {0.5: 0.5}, {0.5: 0.5})
    told = win_pivot(analysis.wins(table(rows), at="0.5"))
    assert told.rows == (
        ("editors, partners compress: mmlu", "", "", ""),
        ("  ft", "1 | 1 | –", "0 | 0 | –", "1"),
        ("  memit", "0 | 0 | –", "1 | 1 | –", "1"),
    )
    assert "fewer than 3 edit batches" in told.notes[1]
