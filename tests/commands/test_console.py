"""What the command line prints of others' names: nothing in them is obeyed, by the terminal or by rich."""

from __future__ import annotations

import csv
import io

import pytest

from rayci.commands import console
from rayci.commands.console import Format

NAME = "[bold]x[/bold] [/] \x1b]0;title\x07 \x9b31m \u202e"


def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console.show([{"name": NAME, NAME: 1}], Format.TABLE, title=NAME)
    console.pairs({NAME: NAME}, title=NAME)
    console.say(NAME)
    shown = capsys.readouterr().out
    assert shown.count("[bold]x[/bold] [/] \\x1b]0;title\\x07") == 7
    assert all(char.isprintable() or char == "\n" for char in shown)


def test_no_cell_is_a_formula(capsys: pytest.CaptureFixture[str]) -> None:
    console.show([{"name": "=cmd()", "low": -1.5}], Format.CSV)
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row == {"name": "'=cmd()", "low": "-1.5"}


def test_no_rows_still_have_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    console.show([], console.Format.CSV, columns=["chain", "reason"])
    assert capsys.readouterr().out == "chain,reason\n"
