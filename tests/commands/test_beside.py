"""Every verb that prints a table about results writes it as well, in every format."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rayci.commands import cli
from tests.analysis.synthetic_table import row, table

PUBLISHED = "published:llama3_8b"
WRITTEN = {
    "metrics -c mmlu": ["composability"],
    "metrics --wins -c mmlu": ["wins"],
    "metrics --rules": ["ordering_rules"],
    f"compare {PUBLISHED}": ["compared_correlations", "compared_differences", "compared_rules"],
    "recommend --need mmlu>=0.5": ["recommendation"],
}


@pytest.fixture
def rayci(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["rayci", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
            raise SystemExit(0)
        return int(stop.value.code or 0)

    return call


@pytest.mark.parametrize("line", WRITTEN)
def test_every_verb_writes_its_tables_besides(line: str, tmp_path: Path, rayci: Callable[..., int]) -> None:
    verb, *rest = line.split()
    assert rayci(verb, PUBLISHED, *rest, "--also", "csv,md,tex,json", "--out", str(tmp_path)) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{stem}.{name}" for stem in WRITTEN[line] for name in ("csv", "md", "tex", "json")
    )
    for stem in WRITTEN[line]:
        rows = list(csv.DictReader((tmp_path / f"{stem}.csv").open()))
        assert len(json.loads((tmp_path / f"{stem}.json").read_text())) == len(rows) > 0
        assert (tmp_path / f"{stem}.md").read_text().startswith("| ")
        assert (tmp_path / f"{stem}.tex").read_text().startswith("\\begin{tabular}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("metrics --also doc --out {}", "cannot write 'doc'"),
        ("recommend --also csv,doc --out {}", "cannot write 'doc'"),
        ("metrics --wins --axis gamma", "--axis does not go with --wins"),
        ("metrics --rules -c mmlu", "--criterion does not go with --rules"),
        ("metrics --wins --rules", "--rules does not go with --wins"),
    ],
)
def test_what_cannot_be_written_or_says_nothing_is_refused(
    line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], rayci: Callable[..., int]
) -> None:
    verb, *rest = line.format(tmp_path).split()
    assert rayci(verb, PUBLISHED, *rest) == cli.WRONG_REQUEST
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_report_of_single_methods_says_which_figures_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rayci: Callable[..., int]
) -> None:
    table([row("ft", "mmlu", 0.5)]).write(tmp_path / "run" / "table" / "all.parquet")
    assert rayci("report", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--also", "csv,svg") == 0
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["composability.csv", "report.html", "times.csv"]
    assert "no figure overview: the table composes no pair of methods\n" in capsys.readouterr().err
