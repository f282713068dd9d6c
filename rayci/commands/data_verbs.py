"""`rayci data SPEC` and `rayci data fetch SPEC`: what a spec's data are, and fetching them with the model."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rayci.commands.console import Format, notes, out, say, show
from rayci.commands.options import SOME_FAILED, FormatOption, SpecPath

_TELL = "show"


class _TellsByDefault(TyperGroup):
    """`rayci data SPEC` tells of it: whatever is no command of the group and no call for help is a spec."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = (*self.commands, *ctx.help_option_names)
        return super().parse_args(ctx, args if not args or args[0] in known else [_TELL, *args])


data = typer.Typer(
    name="data",
    cls=_TellsByDefault,
    help="Say for every part of a spec's data where it comes from and whether it is here, or fetch it.",
    no_args_is_help=True,
)


@data.command(_TELL)
def tell(spec: SpecPath, format: FormatOption = Format.TABLE) -> None:
    """Where every part comes from, its licence, whether it is here, what to fetch, and text that parts share.

    `rayci data SPEC` is short for it.
    """
    from rayci.commands.data_view import PRESENT, leaks_told, of_criteria, of_methods, parts
    from rayci.trials.asked_spec import read_spec

    asked, _ = read_spec(spec)
    told = [*parts(asked), *of_criteria(asked), *of_methods(asked)]
    rows = [one.row for one in told]
    said = [key for key in rows[0] if any(row[key] not in ("", None) for row in rows)] if rows else []
    shown = [{key: row[key] for key in said} for row in rows] if format is Format.TABLE else rows
    show(shown, format, title=f"{asked.name}: data")
    leaks = leaks_told(asked, told)
    for fault in leaks:
        say(f"· {fault}", console=notes)
    for one, other in asked.overlaps_allowed():
        say(f"· {one} and {other} may share text", console=notes)
    if leaks or any(row["state"] != PRESENT for row in rows):
        raise typer.Exit(SOME_FAILED)


@data.command()
def fetch(
    spec: SpecPath,
    model: Annotated[bool, typer.Option("--model/--no-model", help="The model too.")] = True,
    format: FormatOption = Format.TABLE,
) -> None:
    """Fetch all that a sweep reads into the hub's cache, data and model; what is there stays, and it can go on."""
    from rayci.commands.data_view import PRESENT, Told, fetched_model, of_criteria, of_methods, parts
    from rayci.trials.asked_spec import read_spec

    asked, _ = read_spec(spec)
    told: list[Told] = []

    def note(one: Told) -> None:
        told.append(one)
        say(one.line, console=out if format is Format.TABLE else notes)

    for one in (*parts(asked, fetch=True), *of_criteria(asked, fetch=True), *of_methods(asked, fetch=True)):
        note(one)
    if model:
        note(fetched_model(asked))
    if format is not Format.TABLE:
        show([one.row for one in told], format)
    if any(one.row["state"] != PRESENT for one in told):
        raise typer.Exit(SOME_FAILED)
