"""`rayci compare`: a table for people, JSON and CSV for programs, one message for what cannot be."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from rayci.table import write_part
from tests.analysis.synthetic_table import SCALES, both_orders, row
from tests.commands.test_cli import call

PAPER = "published:llama3_8b"


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    return lambda *arguments: call(capsys, monkeypatch, "compare", *arguments)


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Two runs; edits fall with compression in both, by .1 more in the second."""
    names = []
    for name, more in (("one", 0.0), ("two", 0.1)):
        rows = [row("", "edit_success", 0.0)]
        for editor in ("ft", "memit"):
            values = {gamma: 0.9 - gamma - more for gamma in (0.2, 0.4)}
            rows += both_orders(editor, "wanda", "edit_success", values, values)
        (tmp_path / name / "table").mkdir(parents=True)
        write_part(rows, SCALES, tmp_path / name / "table" / "part.parquet")
        names.append(str(tmp_path / name))
    return names


def test_people_see_criteria_and_rules(compare, runs: list[str]) -> None:  # type: ignore[no-untyped-def]
    code, out, err = compare(*runs)
    text = " ".join(out.split())
    assert (code, err) == (0, "")
    assert "edit_success 9 0.09 0.10 ft > wanda@0.2" in text
    assert "yes (+1.00, n = 4) yes (+1.00, n = 4)" in text and "12. Sparsity before quantisation" in text
    assert "wanda@0.4 > memit" not in out
    wide = " ".join(compare(*runs, "--wide")[1].split())
    assert "wanda@0.4 > memit edit_success 0.50 0.40 0.10" in wide and "1, first: fall of edits" in wide
    assert "edit_success 9 0.00 0.00 –" in " ".join(compare(runs[0], runs[0])[1].split())


def test_programs_get_every_part(compare, runs: list[str]) -> None:  # type: ignore[no-untyped-def]
    held = json.loads(compare(*runs, "--format", "json")[1])
    assert {"differences", "correlations", "rules", "only_here", "only_there"} == set(held)
    assert len(held["rules"]) == 14 and held["rules"][0]["here"] == "yes"
    cells = list(csv.DictReader(io.StringIO(compare(*runs, "--format", "csv")[1])))
    assert [float(cell["difference"]) for cell in cells] == [cell["difference"] for cell in held["differences"]]
    rules = list(csv.DictReader(io.StringIO(compare(*runs, "--format", "csv", "--part", "rules")[1])))
    assert [rule["there"] for rule in rules] == [rule["there"] for rule in held["rules"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((PAPER, "nowhere"), "no result table"),
        ((PAPER, "published:unlearning_quantization"), "choose one with --other-model"),
        ((PAPER, "published:unlearning_quantization", "--other-model", "RWKU's model"), "in common"),
        ((PAPER, PAPER, "--part", "cells", "--format", "csv"), "differences, correlations, rules"),
        ((PAPER, PAPER, "--part", "rules"), "table and json hold all parts"),
        ((PAPER, PAPER, "--at", "sparsty=1"), "sparsity"),
    ],
)
def test_mistakes_are_one_message(compare, arguments: tuple[str, ...], said: str) -> None:  # type: ignore[no-untyped-def]
    code, out, err = compare(*arguments)
    assert (code, out) == (2, "")
    assert said in err and "Traceback" not in err
