"""The report is one file that loads nothing, shows every pair, escapes text, and draws in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rayci import analysis
from rayci.analysis.page import stage_rows as stages
from rayci.errors import RequestError
from rayci.table import ResultTable
from tests.analysis.synthetic_table import both_orders, row, table

EVIL = "<script>alert('x')</script> & \"quotes\""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def results() -> ResultTable:
    rows = [row("", "mmlu", 0.9), row("wanda@0.25", "mmlu", 0.8)]
    for k in (0, 1, 2):
        first, second = {0.25: 0.9 - k / 50, 0.5: 0.6}, {0.25: 0.95, 0.5: EVIL if k == 2 else 0.9}
        rows += both_orders("ft", "wanda", "edit_success", first, second, replicate=k)
        rows += both_orders("ft", "wanda", "mmlu", {0.25: 0.7, 0.5: 0.5}, {0.25: 0.6, 0.5: 0.5}, replicate=k)
        rows += [row("ft > gd", "mmlu", 0.5, replicate=k), row("gd > ft", "mmlu", 0.4, replicate=k)]
    return table(rows)


@pytest.fixture(scope="module")
def page(results: ResultTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return analysis.report(results, tmp_path_factory.mktemp("report"), beside=["csv", "md", "tex", "json", "svg"])


def _without_plotly(page: Path) -> str:
    text = page.read_text()
    parts = re.split(r"<script>.{1000000,}?</script>", text, flags=re.DOTALL)
    assert len(parts) == 2, "plotly.js is inlined exactly once"
    return "".join(parts)


def test_nothing_is_loaded(page: Path) -> None:
    text = _without_plotly(page)
    assert not re.search(r"https?://|@import|url\(|<link(?![^>]*data:,)|\ssrc=", text)
    assert "default-src 'none'" in text


def test_every_pair_and_criterion_is_there(page: Path) -> None:
    data = json.loads(re.search(r'id="data">(.*?)</script>', _without_plotly(page), re.DOTALL)[1])  # type: ignore[index]
    assert list(data["figures"]) == ["ft × wanda", "ft × gd"]
    assert list(data["figures"]["ft × wanda"]) == ["edit_success", "mmlu"]
    text = _without_plotly(page)
    assert all(f"<th>{pair}</th>" in text for pair in ("ft × wanda", "ft × gd"))


def test_text_from_the_table_is_escaped(page: Path) -> None:
    text = _without_plotly(page)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_summary_speaks_of_the_data(page: Path) -> None:
    text = _without_plotly(page)
    assert "Order matters most for ft × gd on mmlu" in text
    assert "ft &gt; gd is the better one" in text
    assert "order is shown to matter in" in text
    assert "1 failed" in text
    assert "wanda &gt; ft at sparsity 0.5" in text


def test_it_says_in_which_order(page: Path) -> None:
    text = _without_plotly(page)
    assert "<h2>In which order?</h2>" in text
    assert re.search(r"<th>ft × gd</th>.*?<td>ft by 0\.10</td>", text, re.DOTALL)


def test_files_beside(page: Path) -> None:
    names = {entry.name for entry in page.parent.iterdir()}
    suffixes = ("csv", "md", "tex", "json")
    assert names == {"report.html", "overview.svg", *(f"composability.{suffix}" for suffix in suffixes)}


def test_what_cannot_be_reported(results: ResultTable, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="csv"):
        analysis.report(results, tmp_path / "a", beside=["docx"])
    assert not (tmp_path / "a").exists()


def test_methods_alone_are_reported_without_a_comparison(tmp_path: Path) -> None:
    text = analysis.report(table([row("ft", "mmlu", 0.5)]), tmp_path).read_text(encoding="utf-8")
    assert "nothing to compare" in text
    assert "Stage by stage" in text
    assert "Plotly" not in text.replace("Plotly.react", "")


def test_point_form_and_published_table(tmp_path: Path) -> None:
    page = analysis.load("published:llama3_8b").report(tmp_path, title="Llama")
    text = _without_plotly(page)
    assert "<title>Llama</title>" in text
    assert "not legible in the source" in text


def test_stages_show_recompression_before_and_after() -> None:
    rows = [
        row("", "mmlu", 0.9),
        row("wanda@0.5", "mmlu", 0.8),
        row("wanda@0.5 > ft", "mmlu", 0.7, final=False, replicate=0),
        row("wanda@0.5 > ft", "mmlu", "diverged", final=False, replicate=1),
        row("wanda@0.5 > ft > refit(wanda@0.5)", "mmlu", 0.6, replicate=0),
        row("wanda@0.5 > ft > refit(wanda@0.5)", "mmlu", 0.4, replicate=1),
    ]
    found = stages.stage_lines(table(rows))
    [(composition, lines)] = found["ft × wanda"]
    assert composition == "wanda@0.5 > ft"
    assert [(line.recompression, line.cells["mmlu"]) for line in lines] == [
        (None, "0.90"),
        (None, "0.80"),
        (None, "0.70 (1 failed)"),
        ("refit", "0.50"),
    ]


DRAW_ALL = """
let drawn = 0;
for (const pair of Object.keys(data.figures)) {
  get("curve-pair").value = pair; draw();
  for (const name of Object.keys(data.figures[pair])) { get("curve-criterion").value = name; draw(); drawn += 1; }
}
for (const pair of Object.keys(data.stages)) { get("stage-pair").value = pair; walk(); }
document.title = `drawn ${drawn}`;
"""


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_every_choice_draws_in_a_browser_without_errors(page: Path, tmp_path: Path) -> None:
    text, end = page.read_text().rsplit("</script>", 1)
    everything = tmp_path / "all.html"
    everything.write_text(f"{text}{DRAW_ALL}</script>{end}")
    quiet = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    quiet += " --disable-component-update --disable-sync --virtual-time-budget=8000 --enable-logging=stderr --dump-dom"
    command = [str(CHROMIUM), *quiet.split(), f"--user-data-dir={tmp_path / 'profile'}", everything.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "CONSOLE" not in done.stderr, done.stderr
    assert "<title>drawn 3</title>" in done.stdout
    assert 'class="main-svg"' in done.stdout
    assert done.stdout.count("<tr") > 10
