"""Every `rayci VERB` in a hint, a docstring or a document is a verb that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from rayci.commands import cli

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for pattern in ("rayci/**/*.py", "trials/**/*", "analysis/**/*", "tests/**/*.md", "docs/**/*.py", "*")
    for path in ROOT.glob(pattern)
    if path.suffix in {".py", ".md", ".yaml", ".j2", ".slurm"} or path.name == "Makefile"
)
PROSE = re.compile(r"\w+s|and|can|did|itself|testbed")
"""What follows the name in sentences: words of English, of which none is the command line's to come."""


def verbs() -> set[str]:
    return set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_verbs_exist(path: Path) -> None:
    text = re.sub(r"(from|import) rayci import", "", path.read_text(encoding="utf-8"))
    said = re.findall(r"(?<![\w./])rayci ([a-z]+)\b", text)
    assert [word for word in said if word not in verbs() and not PROSE.fullmatch(word)] == []


def test_files_are_looked_at() -> None:
    assert len(FILES) > 150 and ROOT / "README.md" in FILES
