"""A failing method is rows with a reason, the sweep goes on, and values stay honest."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path

import pandas as pd
import pytest

from rayci import table
from tests.command_line import Said, rayci

SPEC = """\
model: testbed
interventions:
  ft: {lr: {sweep: [2.5e-3, 3.0e+37]}}   # the second leaves non-finite weights
  ga: {}
  wanda: {sparsity: 0.5}
compose: {orders: listed}
criteria: [edit_success, perplexity]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    folder = tmp_path_factory.mktemp("failing")
    (folder / "failing.yaml").write_text(SPEC)
    return folder, rayci("run", str(folder / "failing.yaml"), "--out", str(folder / "run"))


@pytest.fixture(scope="module")
def rows(finished: tuple[Path, Said]) -> pd.DataFrame:
    return table.read(finished[0] / "run").frame


def test_exit_code_and_message(finished: tuple[Path, Said]) -> None:
    done = finished[1]
    assert done.returncode == 1, done.stdout + done.stderr
    assert "non-finite weights" in done.stdout
    assert "values missing" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_part_that_did_not_fail_ends_well(finished: tuple[Path, Said]) -> None:
    folder = finished[0]
    done = rayci("run", str(folder / "failing.yaml"), "--out", str(folder / "run"), "--only", "wanda@0.5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "values missing" not in done.stdout


def test_the_traceback_of_a_failure_is_kept_and_shown(
    finished: tuple[Path, Said],
) -> None:
    run = finished[0] / "run"
    shown = rayci("status", str(run), "--failures")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("ft{lr=3.0e+37}, replicate 0 (edit_success, perplexity): ft left non-finite weights")
    assert shown.stdout.count("Traceback (most recent call last)") == 1, "what was skipped has none of its own"
    (failure,) = json.loads(rayci("status", str(run), "--failures", "--format", "json").stdout)
    assert "in _apply" in failure["traceback"] and "rayci.errors.InterventionError: ft left" in failure["traceback"]
    header, row = rayci("status", str(run), "--format", "csv").stdout.splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True))["state"] == "finished"
    for again in (False, True):
        assert not again or rayci("report", str(run)).returncode == 0
        page = (run / "report.html").read_text()
        assert "<summary>Tracebacks: 1</summary>" in page and "in _apply" in page


def test_the_command_that_repeats_a_failed_trial(
    finished: tuple[Path, Said],
) -> None:
    folder, done = finished
    (line,) = [line for line in done.stdout.splitlines() if "--debug" in line]
    program, *arguments = shlex.split(line)
    assert program == "rayci" and arguments[arguments.index("--only") + 1] == "ft{lr=3.0e+37}"
    before = sorted((folder / "run").rglob("*"))
    again = rayci(*arguments)
    assert again.returncode == 1
    assert "InterventionError: ft left non-finite weights" in again.stderr
    assert "Traceback" in again.stderr  # what --debug is for
    assert "untouched model" in again.stdout
    assert sorted((folder / "run").rglob("*")) == before


def test_failed_stage_and_what_follows_it(rows: pd.DataFrame) -> None:
    failed = rows[rows["chain"] == "ft{lr=3.0e+37}"]
    assert set(failed["status"]) == {"failed"}
    assert failed["value"].isna().all()
    assert failed["reason"].str.contains("non-finite").all()
    after = rows[rows["chain"].str.startswith("ft{lr=3.0e+37} >")]
    assert len(after) == 4
    assert set(after["status"]) == {"skipped"}
    assert after["reason"].str.contains("failed: ft left non-finite weights").all()


def test_the_rest_went_on(rows: pd.DataFrame) -> None:
    others = rows[~rows["chain"].str.contains("3.0e+37", regex=False)]
    assert set(others["status"]) == {"ok"}
    assert others[(others["chain"] == "ft{lr=0.0025}") & (others["criterion"] == "edit_success")]["value"].item() > 0.8


def test_nan_is_not_in_the_table(finished: tuple[Path, Said]) -> None:
    values = table.read(finished[0] / "run").arrow.column("value").to_pylist()
    assert None in values
    assert not any(value is not None and math.isnan(value) for value in values)


def test_failures_are_final_until_asked_for(finished: tuple[Path, Said]) -> None:
    folder = finished[0]
    arguments = ("run", str(folder / "failing.yaml"), "--out", str(folder / "run"))
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "run" / "table").iterdir()}
    assert rayci(*arguments).returncode == 1
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "run" / "table").iterdir()} == before
    assert rayci(*arguments, "--retry-failed").returncode == 1
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "run" / "table").iterdir()}
    assert after.keys() == before.keys()
    assert sum(after[name] != before[name] for name in before) == 3  # the failed stage and two after it
