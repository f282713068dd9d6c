"""An error that nobody foresaw is one message and a file, and the file is its owner's alone."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from rayci.commands import cli

SPEC = "interventions: {clumsy: {}}\ncriteria: [mmlu]\n"
CLUMSY = """
from rayci.intervention import Intervention
from rayci.kinds import Kind

class Clumsy(Intervention):
    name = "clumsy"
    kind = Kind.EDIT

    @classmethod
    def from_strength(cls, strength):
        raise ZeroDivisionError("\\x1b[31mover the feet")

    def apply(self, subject, context): ...
"""


def test_unexpected_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clumsy.py").write_text(CLUMSY)
    (tmp_path / "spec.yaml").write_text(SPEC)
    info = tmp_path / "clumsy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: clumsy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rayci.interventions]\nclumsy = clumsy:Clumsy\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["rayci", "plan", str(tmp_path / "spec.yaml")])
    from rayci import registry

    registry._plugins.cache_clear()
    with pytest.raises(SystemExit) as stop:
        cli.main()
    registry._plugins.cache_clear()
    said = capsys.readouterr()
    assert (stop.value.code, said.out) == (cli.SOME_FAILED, "")
    assert said.err.startswith("error: unexpected ZeroDivisionError: \\x1b[31mover the feet\n")
    assert "Traceback" not in said.err and len(said.err.splitlines()) == 3
    (kept,) = tmp_path.glob("rayci-error-*.txt")
    assert str(kept) in said.err
    assert kept.stat().st_mode & 0o077 == 0
    assert re.search(r"Traceback.*from_strength.*ZeroDivisionError", kept.read_text(), re.DOTALL)
