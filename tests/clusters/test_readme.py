"""trials/README.md says three commands for each place, and every one of rayci's can be parsed as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from rayci.commands.cli import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "trials" / "README.md").read_text()
PLACES = re.findall(r"^## (.*?)$\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize(("place", "text"), PLACES)
def test_three_commands(place: str, text: str) -> None:
    lines = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    assert len(lines) == 3, place
    ours = [found for line in lines for found in re.findall(r"rayci ((?:data|plan|report|run|status) [^#]*)", line)]
    for verb, *arguments in (shlex.split(each.replace('"', "")) for each in ours):
        COMMANDS[verb].make_context(verb, arguments)


def test_files_that_are_named() -> None:
    assert all((ROOT / "trials" / name).is_file() for name in re.findall(r"\]\((.*?)\)", TEXT))
    assert all(
        (ROOT / name).is_file() for name in re.findall(r"(?<= )(?:trials/|cluster\.)[\w./]+(?:yaml|slurm|file)", TEXT)
    )
