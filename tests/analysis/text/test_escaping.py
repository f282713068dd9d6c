"""Names and reasons of others: what a reader of the text would obey is written out."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from rayci import analysis
from rayci.analysis.page.html_report import render
from rayci.analysis.page.overview import write_overview
from rayci.analysis.page.page_context import About
from rayci.analysis.text import escaping, tables
from rayci.table import ResultTable
from tests.analysis.synthetic_table import both_orders, table

REASON = "<script>alert(1)</script> a\\b ~c_d~ \x1b[31m | $x$ \n\\end{tabular} `e` [f](g)"


def named(edit: str, compressor: str, reason: str) -> ResultTable:
    """Both orders of two methods of these names, one point failed."""
    names = {"ft": edit, "wanda": compressor}
    rows = both_orders("ft", "wanda", "edit_success", {0.25: 0.1, 0.5: 0.3}, {0.25: 0.7, 0.5: reason})
    return table(
        replace(row, steps=tuple(replace(step, method=names[step.method]) for step in row.steps)) for row in rows
    )


HOSTILE = named("=cmd()", "a<b>", REASON)


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-cmd", "@x", "\tx", "\r=x"])
def test_a_spreadsheet_computes_no_text(text: str) -> None:
    assert escaping.csv_cell(text).startswith("'")


@pytest.mark.parametrize("value", [-1.5, "-1.5", "+2", "-inf", "a=b", None, 3])
def test_numbers_and_plain_text_stay(value: object) -> None:
    assert escaping.csv_cell(value) == value


def test_csv() -> None:
    frame = analysis.metrics(HOSTILE)
    rows = list(csv.DictReader(io.StringIO(tables.to_csv(frame, all_columns=True))))
    assert "'=cmd()" in (rows[0]["method_i"], rows[0]["method_j"])
    assert "\x1b" not in tables.to_csv(frame, all_columns=True)


def test_markdown_and_latex() -> None:
    frame = analysis.metrics(HOSTILE)
    markdown, latex = tables.to_markdown(frame), tables.to_latex(frame)
    assert "\\<script>" in markdown and "a\\\\b \\~c_d\\~" in markdown and "\x1b" not in markdown
    body, _, comments = latex.partition("\\end{tabular}\n")
    assert "a$<$b$>$" in body
    assert comments and all(line.startswith("% ") for line in comments.splitlines())
    assert escaping.latex("a\\b~c^d{e}") == r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d\{e\}"


def test_html() -> None:
    text = render(HOSTILE, analysis.metrics(HOSTILE), About())
    assert "<script>alert" not in text
    assert "a<b>" not in text and "a&lt;b&gt;" in text


def test_a_picture_typesets_no_name(tmp_path: Path) -> None:
    odd = named("f$\\frac$t", "wanda", "lost")
    assert write_overview(odd, tmp_path / "deep" / "overview.svg").is_file()
