"""`rayci status`: how far a run is, and where the time of its workers went."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rayci.commands import cli
from rayci.storage.entries import encode
from rayci.table import write_part
from rayci.units import HOUR
from tests.analysis.synthetic_table import SCALES, row


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that stopped after one of two stages."""
    entry = {"fingerprint": "sweep", "asked": {"trials": 1, "stages": ["a", "b"]}, "plan": {"trials": 1}}
    (tmp_path / "run.json").write_bytes(encode(entry, "run.json"))
    return tmp_path


def measured(run: Path, rate: float | None = 2.0) -> None:
    seconds = {"load_seconds": 4 * HOUR, "apply_seconds": 2 * HOUR, "store_seconds": HOUR, "idle_seconds": HOUR}
    done = {"apply_operations": HOUR, "measure_operations": 2 * HOUR, "device_rate": rate}
    rows = [row("ft", name, 0.5, measure_seconds=HOUR, stage_fingerprint="a", **seconds, **done) for name in SCALES]
    write_part(rows[:2], SCALES, run / "table" / "a.parquet")


def said(run: Path, *options: str) -> str:
    result = CliRunner().invoke(cli.app, ["status", str(run), *options], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_hours_and_shares_by_activity(run: Path) -> None:
    measured(run)
    lines = [line.split() for line in said(run).split("time of its workers went")[1].splitlines() if line]
    assert lines[0] == ["activity", "time", "share", "FLOP", "utilisation"]
    assert ["load", "4.0", "h", "40", "%", "–"] in lines and ["apply", "2.0", "h", "20", "%", "25", "%"] in lines
    assert lines[-1] == ["all", "10.0", "h", "100", "%", "–"]


def test_for_programs(run: Path) -> None:
    measured(run)
    time: dict[str, Any] = json.loads(said(run, "--format", "json"))["time"]
    assert list(time) == ["load", "apply", "measure", "store", "idle", "all"]
    assert time["measure"] == {"hours": 2.0, "share": 0.2, "utilisation": 1.0}
    (flat,) = csv.DictReader(io.StringIO(said(run, "--format", "csv")))
    assert (flat["stages_done"], flat["idle_hours"], flat["apply_utilisation"]) == ("1", "1.0", "0.25")


def test_what_nobody_knows_is_left_out(run: Path) -> None:
    assert "workers" not in said(run) and json.loads(said(run, "--format", "json"))["time"] == {}
    measured(run, rate=None)
    assert "utilisation" not in said(run)
