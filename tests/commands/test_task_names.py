"""Tasks of lm-eval have a colon in their names: no table, page, figure or option trips over it."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from rayci.kinds import UNIT_INTERVAL, Direction, Scale
from rayci.table import from_rows
from tests.analysis.synthetic_table import both_orders, row
from tests.commands.test_cli import call

CHOICE, TEXT = "lm_eval:arc_easy", "lm_eval:wikitext"
GRID = (0.25, 0.5, 0.75)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of two tasks, after an editor and a pruner in both orders."""
    folder = tmp_path_factory.mktemp("run")
    rows = [
        replace(own, criterion=task, criterion_fingerprint=task)
        for task, criterion, before, after in ((CHOICE, "mmlu", 0.9, 0.6), (TEXT, "perplexity", 9.0, 12.0))
        for replicate in range(3)
        for own in (
            *([] if replicate else [row("", criterion, before)]),
            *both_orders(
                "ft",
                "wanda",
                criterion,
                {gamma: before - gamma / 9 - replicate / 99 for gamma in GRID},
                {gamma: after - gamma / 9 for gamma in GRID},
                replicate=replicate,
            ),
        )
    ]
    scales = {CHOICE: UNIT_INTERVAL, TEXT: Scale(Direction.LOWER, 1.0, logarithmic=True)}
    from_rows(rows, scales).write(folder / "table" / "all.parquet")
    return folder


@pytest.mark.parametrize(
    "options",
    [
        ("-c", CHOICE),
        ("-c", f"{CHOICE},{TEXT}", "--over", "sparsity=0.25:0.5"),
        ("--within", f"{CHOICE}=0.9"),
    ],
    ids=lambda options: options[0],
)
def test_options_take_the_name(
    options: tuple[str, ...], run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = call(capsys, monkeypatch, "metrics", str(run), *options, "--format", "csv")
    assert code == 0, err
    named = {row["criterion"] for row in csv.DictReader(io.StringIO(out))}
    assert named and named <= {CHOICE, TEXT}


def test_a_need_takes_the_name(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("--need", f"{CHOICE}>=0.7", "--minimize", TEXT)
    code, out, _ = call(capsys, monkeypatch, "recommend", str(run), *asked)
    assert code == 0 and f"meet {CHOICE}>=0.7" in out


def test_the_report_and_all_beside_it_show_the_name(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = ("--out", str(tmp_path), "--also", "csv,md,tex,json,png")
    assert call(capsys, monkeypatch, "report", str(run), *every)[0] == 0
    for name in ("report.html", "composability.csv", "composability.md", "composability.tex", "composability.json"):
        text = (tmp_path / name).read_text()
        assert any(written in text for written in (CHOICE, "lm\\_eval:arc\\_easy", "lm eval:arc easy")), name
    assert {path.suffix for path in tmp_path.glob("overview.*")} == {".png"}
