"""The command line: what programs read is on standard output alone, and help helps."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from rayci import __version__, registry
from rayci.commands import cli
from rayci.kinds import Kind

QUICKSTART = Path(__file__).parents[2] / "trials" / "specs" / "quickstart.yaml"
COLUMNS = [
    "criterion",
    "method_i",
    "method_j",
    "strength",
    "order_free_error",
    "order_sensitivity",
    "n_points",
    "n_replicates",
]


def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["rayci", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
        raise SystemExit(0)
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


@pytest.fixture
def rayci(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> object:
    return lambda *arguments: call(capsys, monkeypatch, *arguments)


@pytest.mark.parametrize(
    "verb",
    [
        "",
        "plan",
        "run",
        "status",
        "report",
        "metrics",
        "compare",
        "recommend",
        "apply",
        "inspect",
        "methods",
        "criteria",
        "doctor",
    ],
)
def test_help(verb: str, rayci) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = rayci(*([verb] if verb else []), "--help")
    assert code == 0
    assert "Usage: rayci" in out
    assert len(out) > 300


def test_help_shows_every_word() -> None:
    """Rich takes text in square brackets for markup and shows nothing of it."""
    for verb in typer.main.get_command(cli.app).commands.values():  # type: ignore[attr-defined]
        assert [option.name for option in verb.params if "[" in (getattr(option, "help", "") or "")] == []


def test_help_names_exit_codes_and_version(rayci) -> None:  # type: ignore[no-untyped-def]
    assert "130" in rayci("--help")[1]
    assert rayci("--version")[1].strip() == __version__


def test_plan(rayci) -> None:  # type: ignore[no-untyped-def]
    code, out, err = rayci("plan", str(QUICKSTART), "--format", "json")
    counts = json.loads(out)
    assert (code, err) == (0, "")
    assert counts["compositions"] == 39 and counts["trials"] == 107
    assert counts["stages_computed"] == 149 and counts["stages_asked"] == 243
    listed = list(csv.DictReader(io.StringIO(rayci("plan", str(QUICKSTART), "--trials", "--format", "csv")[1])))
    assert len(listed) == 107 and len({row["trial"] for row in listed}) == 107


def test_listings(rayci) -> None:  # type: ignore[no-untyped-def]
    methods = json.loads(rayci("methods", "--format", "json")[1])
    assert {row["name"] for row in methods} == set(registry.interventions())
    assert [kind for kind, _ in itertools.groupby(row["kind"] for row in methods)] == [str(kind) for kind in Kind]
    assert {"name", "kind", "strength"} <= set(methods[0])
    assert next(row for row in methods if row["name"] == "wanda")["strength"] == "sparsity"
    criteria = list(csv.DictReader(io.StringIO(rayci("criteria", "--format", "csv")[1])))
    assert [row["name"] for row in criteria] == registry.criteria()


@pytest.mark.parametrize("name", registry.INTERVENTIONS)
def test_every_method_explains_itself(name: str, rayci) -> None:  # type: ignore[no-untyped-def]
    out = rayci("methods", name)[1]
    assert registry.intervention(name).paper and len(out) > 1000
    settings = json.loads(rayci("methods", name, "--format", "json")[1])
    assert settings and all(row["meaning"] for row in settings)


@pytest.mark.parametrize("name", registry.CRITERIA)
def test_every_criterion_explains_itself(name: str, rayci) -> None:  # type: ignore[no-untyped-def]
    assert len(rayci("criteria", name)[1]) > 80


def test_published_table(rayci) -> None:  # type: ignore[no-untyped-def]
    code, out, err = rayci("metrics", "published:llama3_8b", "--at", "published", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (code, err) == (0, "")
    assert list(rows[0]) == COLUMNS
    cell = next(
        row
        for row in rows
        if (row["criterion"], row["method_i"], row["method_j"]) == ("edit_success", "memit", "wanda")
    )
    assert float(cell["order_free_error"]) == pytest.approx(0.05, abs=0.015)
    assert float(cell["order_sensitivity"]) == pytest.approx(0.24, abs=0.015)
    missing = next(row for row in rows if (row["method_i"], row["method_j"]) == ("memit", "awq"))
    assert missing["order_free_error"] == "" == missing["order_sensitivity"]


def test_doctor(rayci, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("HOME", str(tmp_path))  # whatever token this account has
    _, out, _ = rayci("doctor", "--format", "json")
    findings = {row["subject"]: row for row in json.loads(out)}
    assert {"Python", "torch", "GPU", "Ray", "disk", "hub"} <= set(findings)
    assert all(row["advice"] for row in findings.values() if row["state"] == "problem")
    assert findings["torch"]["state"] == findings["Ray"]["state"] == "ok"


def test_not_a_run(rayci, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for verb in ("status", "report", "metrics"):
        code, out, err = rayci(verb, str(tmp_path))
        assert code == cli.WRONG_REQUEST, verb
        assert out == "" and str(tmp_path) in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    command = [sys.executable, "-m", "rayci", "--show-completion", shell]
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # the test has no shell above it
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "_RAYCI_COMPLETE" in done.stdout
