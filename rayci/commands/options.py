"""What options of several verbs share: their types, completion, checks and exit codes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rayci.commands.console import Format
from rayci.errors import RequestError

if TYPE_CHECKING:
    from rayci.analysis.scan.sources import Results

OK, SOME_FAILED, WRONG_REQUEST, LIMIT_REACHED, INTERRUPTED = 0, 1, 2, 3, 130

SpecPath = Annotated[
    Path,
    typer.Argument(
        help="A sweep as YAML, or the name of one that ships with rayci: quickstart.",
        metavar="SPEC",
        show_default=False,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set a key of the spec anew, model=owner/name or data.edits=counterfact; repeatable."),
]
WorkersOption = Annotated[int | None, typer.Option(help="Trials at a time.", show_default="what the cores allow")]
RunPath = Annotated[
    str,
    typer.Argument(
        help="A run folder, a folder of runs, a Parquet table, a glob or URL of these, or published:llama3_8b.",
        metavar="RUN",
        show_default=False,
    ),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Model of RUN, where it holds several: its name or fingerprint.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="json and csv go to standard output alone.")]


def names(kind: str) -> Any:
    """Completion of the names of a registry: `interventions` or `criteria`."""

    def complete(incomplete: str) -> list[str]:
        from rayci import registry

        return [name for name in getattr(registry, kind)() if name.startswith(incomplete)]

    return complete


def loaded(source: str, model: str | None) -> Results:
    """A result table, or the rows of one of its models."""
    from rayci import analysis

    table = analysis.load(source)
    return table if model is None else table.of_model(model)


def listed(texts: Iterable[str] | None) -> tuple[str, ...]:
    """Names of an option that takes several, `csv,md` or one at a time, or both: each once, in their order."""
    parts = [part.strip() for text in texts or () for part in text.split(",")]
    return tuple(dict.fromkeys(part for part in parts if part))


def numbers(texts: Iterable[str] | None, option: str) -> dict[str, float]:
    """Numbers by name, `mmlu=0.05,perplexity=1` or one at a time; RequestError where one cannot be read."""
    values: dict[str, float] = {}
    for part in listed(texts):
        name, _, number = (text.strip() for text in part.partition("="))
        try:
            values[name] = finite(float(number), option)
        except ValueError:
            raise RequestError(f"cannot read {option} {part!r}", at=option, allowed="name=number,…") from None
    return values


def ranges(texts: Iterable[str] | None, option: str) -> dict[str, tuple[float, float]]:
    """Ranges by name, `bits=3:8,sparsity=0.2:0.5` or one at a time; RequestError where one cannot be read."""
    held: dict[str, tuple[float, float]] = {}
    for part in listed(texts):
        name, _, ends = (text.strip() for text in part.partition("="))
        try:
            low, high = (finite(float(end), option) for end in ends.split(":"))
        except ValueError:
            raise RequestError(f"cannot read {option} {part!r}", at=option, allowed="name=from:to,…") from None
        held[name] = (low, high)
    return held


def whole(text: str, option: str) -> int:
    """The text as a whole number, or RequestError."""
    if text.isascii() and text.isdecimal():
        return int(text)
    raise RequestError(f"{option} {text}", at=option, allowed="a whole number")


def finite(value: float, option: str) -> float:
    """The value, or RequestError where it is no finite number."""
    if not math.isfinite(value):
        raise RequestError(f"{option} {value}", at=option, allowed="a finite number")
    return value
