"""Where the time went: seconds of visits by method and activity, as a frame and as tables for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rayci import analysis
from rayci.analysis.text.time_pivot import percent, spent, time_pivot
from rayci.table import ResultTable
from tests.analysis.synthetic_table import row, table


def timed(chain: str, load: float, apply: float, measure: float, **fields: Any) -> Any:
    spent = {"load_seconds": load, "apply_seconds": apply, "measure_seconds": measure, "store_seconds": 1.0}
    return row(chain, "mmlu", 0.5, **spent, idle_seconds=2.0, **fields)


@pytest.fixture(scope="module")
def results() -> ResultTable:
    known = {"apply_operations": 8e9, "measure_operations": 1e9, "device_rate": 1e9, "peak_memory_bytes": 3 * 2**30}
    return table(
        [
            timed("", 30.0, 0.0, 7.0),
            timed("ft", 1.0, 16.0, 1.0, **known),
            timed("memit", 1.0, 4.0, 4.0),
            timed("wanda@0.5", 0.0, 0.004, 2.0),
            timed("wanda@0.5 > ft", 1.0, 0.0, 1.0, **(known | {"apply_operations": 0.0})),
            timed("wanda@0.5 > ft > refit(wanda@0.5)", 0.0, 2.0, 2.0),
        ]
    )


def test_seconds_by_method_the_longest_first(results: ResultTable) -> None:
    split = analysis.time_split(results).set_index(["kind", "method"])
    assert split.index[0][0] == "untouched model" and split["seconds"].tolist() == sorted(split["seconds"])[::-1]
    ft = split.loc[("edit", "ft")]
    names = ["stages", "load_seconds", "apply_seconds", "measure_seconds", "store_seconds", "idle_seconds", "seconds"]
    assert ft[names].tolist() == [2, 2.0, 16.0, 2.0, 2.0, 4.0, 26.0]
    assert ft["apply_median"] == 16.0, "out of the store is no application"
    assert (ft["apply_utilisation"], ft["measure_utilisation"]) == (0.5, 1.0)
    assert ("compress", "wanda") in split.index and ("refit", "wanda") in split.index
    assert split["share"].sum() == pytest.approx(1) and pd.isna(split.loc[("edit", "memit"), "apply_utilisation"])


def test_a_line_for_each_method_then_all(results: ResultTable) -> None:
    told = time_pivot(analysis.time_split(results))
    lines = {line[0]: dict(zip(told.header, line, strict=True)) for line in told.rows}
    assert list(lines)[-1] == "all" and "refit(wanda)" in lines
    assert lines["untouched model"] | {"time": "40 s", "load": "75 %", "apply": "0 %"} == lines["untouched model"]
    assert lines["ft"] | {"apply use": "50 %", "measure use": "100 %", "peak GPU memory": "3.0 GiB"} == lines["ft"]
    assert lines["wanda"] | {"apply": "<1 %", "median step": "0.00 s", "apply use": "–"} == lines["wanda"]
    assert lines["all"]["stages"] == "6" and lines["all"]["of all"] == "100 %"
    assert "FLOP utilisation" in told.notes[1]


def test_what_nobody_knows_has_no_column() -> None:
    old = table([row("", "mmlu", 0.5, schema_version=1), row("ft", "mmlu", 0.5, schema_version=1)])
    told = time_pivot(analysis.time_split(old))
    assert told.header == ("last step", "stages", "time", "of all", "apply", "measure", "median step")
    assert len(analysis.time_split(analysis.load("published:llama3_8b"))) == 0


def test_times_for_reading() -> None:
    assert [spent(s) for s in (None, 0.04, 12.3, 210.0, 43560.0)] == ["–", "0.04 s", "12 s", "3.5 min", "12.1 h"]
    assert [percent(s) for s in (None, 0.0, 0.001, 0.126)] == ["–", "0 %", "<1 %", "13 %"]


def test_the_report_shows_and_writes_it(results: ResultTable, tmp_path: Path) -> None:
    page = analysis.report(results, tmp_path, beside=["csv", "md"]).read_text()
    assert '<h2 id="times-title">Where the time went</h2>' in page and 'class="spent load" style="width:75.00%"' in page
    assert (tmp_path / "times.csv").read_text().startswith("kind,method,stages,load_seconds,")
    assert "| untouched model | 1 | 40 s |" in (tmp_path / "times.md").read_text()
    paper = analysis.report(analysis.load("published:llama3_8b"), tmp_path / "paper", beside=["csv"])
    assert "Where the time went" not in paper.read_text() and not (tmp_path / "paper" / "times.csv").exists()
