"""`rayci methods`, `criteria` and `doctor`: what is there to be used."""

from __future__ import annotations

from typing import Annotated

import typer

from rayci.commands.console import Format, say, show
from rayci.commands.options import SOME_FAILED, FormatOption, names


def methods(
    name: Annotated[str | None, typer.Argument(help="One method.", autocompletion=names("interventions"))] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the interventions, or show the settings of one."""
    _listing("methods", name, format)


def criteria(
    name: Annotated[str | None, typer.Argument(help="One criterion.", autocompletion=names("criteria"))] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the criteria, or show the settings of one."""
    _listing("criteria", name, format)


def _listing(what: str, name: str | None, format: Format) -> None:
    from rayci import registry
    from rayci.commands import describe

    if name is None:
        rows = describe.methods() if what == "methods" else describe.criteria()
        if what == "methods" and format is Format.TABLE:
            rows = [describe.for_people(row) for row in rows]
        show(rows, format, title=what.capitalize())
        return
    cls = registry.intervention(name) if what == "methods" else registry.criterion(name)
    row = describe.criterion(name) if what == "criteria" else None  # of a task of lm-eval: whether there is such
    if format is Format.TABLE:
        say(describe.source(cls) + "\n")
    if format is Format.TABLE and row is not None:
        show([row], format, title=name)
    show(describe.settings(cls), format, title=f"Settings of {name}")


def doctor(format: FormatOption = Format.TABLE) -> None:
    """Check Python, torch, GPU, Ray, memory, disk and hub access, and say what to do about the rest."""
    from rayci.commands.doctor import examine

    findings = examine()
    show([finding.__dict__ for finding in findings], format)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(SOME_FAILED)
