"""What options of several verbs share: their types, completion, checks and exit codes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from rayci.commands.console import Format
from rayci.errors import RequestError

OK, SOME_FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130

SpecPath = Annotated[Path, typer.Argument(help="A sweep as YAML.", metavar="SPEC", show_default=False)]
RunPath = Annotated[
    str,
    typer.Argument(help="A run folder, a Parquet table, or published:llama3_8b.", metavar="RUN", show_default=False),
]
FormatOption = Annotated[Format, typer.Option("--format", help="json and csv go to standard output alone.")]


def names(kind: str) -> Any:
    """Completion of the names of a registry: `interventions` or `criteria`."""

    def complete(incomplete: str) -> list[str]:
        from rayci import registry

        return [name for name in getattr(registry, kind)() if name.startswith(incomplete)]

    return complete


def finite(value: float, option: str) -> float:
    """The value, or RequestError where it is no finite number."""
    if not math.isfinite(value):
        raise RequestError(f"{option} {value}", at=option, allowed="a finite number")
    return value
