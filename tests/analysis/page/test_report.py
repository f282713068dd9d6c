"""The report is one file that loads nothing, holds every set of methods, and shows text as text."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rayci import analysis
from rayci.analysis.text import tables
from rayci.errors import RequestError
from rayci.table import ResultTable
from tests.analysis.page.report_table import EVIL, report_table
from tests.analysis.synthetic_table import row, table

STEMS = ("composability", "times")
"""Of the tables that are written beside a report."""


@pytest.fixture(scope="module")
def results() -> ResultTable:
    return report_table()


@pytest.fixture(scope="module")
def page(results: ResultTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    failed = [(f"ft: {EVIL}", f"Traceback\n{EVIL}")]
    return analysis.report(
        results, folder, beside=["csv", "md", "tex", "json", "svg"], tracebacks=failed, spec="model: m"
    )


def _data(page: Path) -> Any:
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)[1])  # type: ignore[index]


def test_nothing_is_loaded(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|url\(|<link(?![^>]*data:,)|\ssrc=", text)
    assert "default-src 'none'" in text
    assert "connect-src" not in text


def test_every_set_and_criterion_is_there(page: Path) -> None:
    data = _data(page)
    sets = {family["name"]: family for family in data["families"] if len(family["methods"]) > 1}
    assert list(sets) == ["ft × wanda", "ft × gd", "wanda × gd", "ft × wanda × gd"]
    names = [criterion["name"] for criterion in data["criteria"]]
    assert [names[int(place)] for place in sets["ft × wanda"]["curves"]] == ["edit_success", "mmlu", "perplexity"]
    assert sets["ft × wanda × gd"]["unasked"] == 3
    assert set(data["cells"]) == set(sets)


def test_text_from_the_table_is_inert(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert EVIL in _data(page)["reasons"]


def test_summary_speaks_of_the_data(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<dt>ft</dt><dd>fine-tuning</dd>" in text
    assert text.count("ft (fine-tuning) ×") == 1
    assert "1 failed" in text
    assert "wanda &gt; ft at sparsity 0.5" in text
    assert "Where the time went</h2>" in text
    assert "model: m" in text


def test_it_says_in_which_order(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "Order matters for" in text
    across = r'colspan="\d">ft × gd</th></tr>.*?>mmlu</th><td>ft &gt; gd</td><td>0\.50 \| 0\.40</td>'
    assert re.search(across, text, re.DOTALL)


def test_tables_travel_with_the_page(page: Path, results: ResultTable) -> None:
    held = {file["name"]: base64.b64decode(file["data"]) for file in _data(page)["files"]}
    frame = analysis.metrics(results)
    assert gzip.decompress(held["composability.csv"]).decode() == tables.to_csv(frame, all_columns=True)
    assert gzip.decompress(held["composability.tex"]).decode() == tables.to_latex(frame)
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(held["composability.parquet"])), frame)
    assert len(pd.read_parquet(io.BytesIO(held["readings.parquet"]))) == len(results)


def test_files_beside(page: Path) -> None:
    names = {entry.name for entry in page.parent.iterdir()}
    suffixes = ("csv", "md", "tex", "json")
    assert names == {"report.html", "overview.svg", *(f"{stem}.{suffix}" for stem in STEMS for suffix in suffixes)}


def test_what_cannot_be_reported(results: ResultTable, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="csv"):
        analysis.report(results, tmp_path / "a", beside=["docx"])
    assert not (tmp_path / "a").exists()


def test_methods_alone_are_reported_without_a_comparison(tmp_path: Path) -> None:
    alone = table([row("ft", "mmlu", 0.5)])
    text = analysis.report(alone, tmp_path, beside=["csv", "svg", "md"]).read_text(encoding="utf-8")
    files = {f"{stem}.{suffix}" for stem in STEMS for suffix in ("csv", "md")}
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", *files}
    assert "nothing to compare" in text
    assert 'id="stages"' in text
    assert 'id="grid"' not in text


def test_point_form_and_published_table(tmp_path: Path) -> None:
    page = analysis.report(analysis.load("published:llama3_8b"), tmp_path, title="Llama", at="published")
    text = page.read_text(encoding="utf-8")
    assert "<title>Llama</title>" in text
    assert "not legible in the source" in text
    cells = _data(page)["cells"]["ft × wanda"]
    assert {cell["at"] for cell in cells.values()} == {0.25}


def test_an_answer_that_was_asked_is_the_one_that_is_shown(results: ResultTable, tmp_path: Path) -> None:
    asked = analysis.which_order(results, at="area")
    text = analysis.report(results, tmp_path, answer=asked).read_text(encoding="utf-8")
    assert "as areas over the strength" in text and "at the middle of each sweep" not in text
