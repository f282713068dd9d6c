"""`rayci recommend`: formats and refusals, on a table of its own and on the published one."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest

from rayci.commands import cli, console
from tests.analysis.synthetic_table import row, table


@pytest.fixture
def recommend(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> object:
    chains = {"ft > rtn@4": (0.8, 4.25), "rtn@4 > ft": (0.9, 4.25), "ft": (0.95, 16.0)}
    rows = [
        row(chain, name, value, replicate=k)
        for chain, (success, bits) in chains.items()
        for k, noise in enumerate((-0.01, 0.0, 0.01))
        for name, value in (("edit_success", success + noise), ("avg_bits", bits), ("privleak", 5.0))
    ]
    table(rows).write(tmp_path / "table" / "all.parquet")

    def call(*options: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rayci", "recommend", str(tmp_path / "table"), *options])
        with pytest.raises(SystemExit) as stop:
            cli.main()
            raise SystemExit(0)
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


WANTED = ("--need", "edit_success>=0.85", "--minimize", "avg_bits")


@pytest.mark.parametrize("width", [80, 160])
def test_table(width: int, recommend, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(console.out, "width", width)
    code, out, err = recommend(*WANTED)
    assert (code, err) == (0, "") and "…" not in out
    assert out.startswith("rtn@4 > ft: avg_bits 4.25, the lowest of the 2 chains that meet edit_success>=0.85, of 3 ")
    assert "Build it: rayci apply --run " in out


def test_json_and_csv(recommend) -> None:  # type: ignore[no-untyped-def]
    told = json.loads(recommend(*WANTED, "--format", "json")[1])
    assert told["build"] == "rtn@4 > ft" and told["probability_best"] == 1.0 and told["n"] == 3
    rows = list(csv.DictReader(io.StringIO(recommend(*WANTED, "--format", "csv")[1])))
    assert [(line["chain"], line["meets"]) for line in rows] == [
        ("rtn@4 > ft", "shown"),
        ("ft", "shown"),
        ("ft > rtn@4", "no"),
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--need", "edit_success"], "cannot read the need"),
        (["--need", "wmdp<=0.3"], "no criterion 'wmdp' in the table"),
        (["--need", "privleak<=0.3"], "privleak is best at 0"),
        (["--need", "edit_success>=0.99", "--minimize", "avg_bits"], "nearest, ft: edit_success is 0.95"),
        (["--maximize", "nope"], "no criterion 'nope'"),
    ],
)
def test_refused(options: list[str], said: str, recommend) -> None:  # type: ignore[no-untyped-def]
    code, out, err = recommend(*options)
    assert (code, out) == (cli.WRONG_REQUEST, "") and said in err and len(err.splitlines()) <= 4
