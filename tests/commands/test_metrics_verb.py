"""`rayci metrics`: what it reads, prints and writes, on the published table."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rayci.commands import cli, console
from rayci.table import write_part
from tests.analysis.synthetic_table import SCALES, both_orders

TABLE = "published:llama3_8b"


@pytest.fixture
def metrics(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> object:
    def call(*options: str, source: str = TABLE) -> tuple[int, str, str]:
        short = () if "--rules" in options else ("-c", "edit_success")
        monkeypatch.setattr(sys, "argv", ["rayci", "metrics", source, *short, *options])
        with pytest.raises(SystemExit) as stop:
            cli.main()
            raise SystemExit(0)
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


@pytest.mark.parametrize("width", [80, 160])
def test_nothing_is_cut_off(width: int, metrics, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(console.out, "width", width)
    for options in ((), ("--wide",)):
        code, out, _ = metrics(*options)
        assert code == 0 and "…" not in out
        lines = out.splitlines()
        assert any("In which order?" in line for line in lines)
        line = next(line for line in lines[::-1] if line.strip().startswith("edit success"))
        assert line.count("|") >= 1


def test_the_middle_is_read_unless_asked_otherwise(metrics) -> None:  # type: ignore[no-untyped-def]
    strengths = [row["strength"] for row in csv.DictReader(io.StringIO(metrics("--format", "csv")[1]))]
    areas = [row["strength"] for row in csv.DictReader(io.StringIO(metrics("--at", "area", "--format", "csv")[1]))]
    assert {float(text) for text in strengths if text} == {0.55, 4.0, 5.0} and not any(areas)


def test_a_range_is_of_areas(metrics) -> None:  # type: ignore[no-untyped-def]
    rows = json.loads(metrics("--over", "bits=3:8", "--format", "json", "--wide")[1])
    kept = {(row["method_j"], row["kept_low"], row["kept_high"]) for row in rows if row["method_i"] == "lora"}
    assert ("gptq", 3.0, 8.0) in kept and not any(row["strength"] for row in rows)


def test_wide_formats_have_every_column(metrics) -> None:  # type: ignore[no-untyped-def]
    wide, narrow = (json.loads(metrics("--format", "json", *more)[1]) for more in (["--wide"], []))
    assert {"best_order", "verdict", "value_ij"} <= set(wide[0]) and set(narrow[0]) < set(wide[0])


def test_wins(metrics) -> None:  # type: ignore[no-untyped-def]
    rows = list(csv.DictReader(io.StringIO(metrics("--wins", "--at", "published", "--format", "csv")[1])))
    assert {row["category"] for row in rows} >= {"editors", "pruners"} and {row["criterion"] for row in rows} == {
        "edit_success"
    }


def test_rules(metrics) -> None:  # type: ignore[no-untyped-def]
    held = json.loads(metrics("--rules", "--format", "json")[1])
    assert [rule["rule"] for rule in held] == list(range(1, 15))
    assert (held[6]["answer"], held[9]["answer"], held[9]["statistic"]) == ("yes", "undecided", None)
    text = " ".join(metrics("--rules", "--at", "published")[1].split())
    assert "10. SURE prevents that undecided" in text and "needs SURE and another unlearner" in text


def test_files_beside(metrics, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    metrics("--also", "csv,md", "--also", "tex", "--out", str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {f"composability.{name}" for name in ("csv", "md", "tex")}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", "3"], "no sets of 3 methods"),
        (["--size", "two"], "a whole number"),
        (["--within", "mmlu"], "name=number"),
        (["--within", "nope=0.1"], "no criterion 'nope'"),
        (["--along", "nope"], "no method 'nope'"),
        (["--axis", "nope"], "no axis 'nope'"),
        (["--at", "bitz=4"], "nothing named 'bitz'"),
        (["--over", "bits"], "name=from:to"),
        (["--over", "bitz=3:8"], "nothing named 'bitz'"),
        (["--over", "bits=3:8", "--at", "middle"], "ranges are of areas"),
        (["--model", "nope"], "'nope'"),
        (["--also", "docx"], "cannot write 'docx'"),
    ],
)
def test_refused(options: list[str], said: str, metrics, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, err = metrics(*options, "--out", str(tmp_path))
    assert (code, out) == (cli.WRONG_REQUEST, "") and said in err and len(err.splitlines()) <= 4
    assert list(tmp_path.iterdir()) == []


def test_one_of_several_models(metrics, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for number, name in enumerate(("small", "large")):
        rows = both_orders("ft", "wanda", "edit_success", {0.5: 0.4 + number / 2}, {0.5: 0.3}, model=name)
        rows = [replace(row, stage_fingerprint=f"{name}{row.stage_fingerprint}") for row in rows]
        write_part(
            [replace(row, sweep_fingerprint=name, model_fingerprint=name) for row in rows], SCALES, tmp_path / name
        )
        (tmp_path / name).rename(tmp_path / f"{name}.parquet")
    code, _, error = metrics("--format", "csv", source=f"{tmp_path}/*.parquet")
    assert code == 2 and "large, small" in error and "choose one with --model" in error
    for name, value in (("small", "0.4"), ("lar", "0.9")):
        code, out, _ = metrics("--model", name, "--wide", "--format", "csv", source=str(tmp_path))
        assert code == 0 and [row["value_ij"] for row in csv.DictReader(io.StringIO(out))] == [value]
