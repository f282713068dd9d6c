"""`rayci metrics`, `compare`, `recommend` and `report`: what a finished or running sweep says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from rayci.commands.beside import AlsoOption, Files, OutOption, folder_of_files
from rayci.commands.console import Format, notes, say
from rayci.commands.options import FormatOption, ModelOption, RunPath, listed, loaded, names, whole
from rayci.errors import RequestError


def metrics(
    folder: RunPath,
    at: Annotated[
        str | None,
        typer.Option(
            help="Strength to read: middle (of each sweep), area, published (γ .25, 4 bits), a γ, or name=γ,…",
            show_default="middle; area with --axis or --over",
        ),
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option("--size", help="Numbers of methods, 2,3,4.", show_default="all there are")
    ] = None,
    criterion: Annotated[
        list[str] | None, typer.Option("--criterion", "-c", help="Only these.", autocompletion=names("criteria"))
    ] = None,
    axis: Annotated[str, typer.Option(help="γ axis of areas: scaled from 0 to 1, gamma, or avg_bits.")] = "scaled",
    along: Annotated[str | None, typer.Option(help="Method whose γ is the axis.", show_default="compressor")] = None,
    within: Annotated[
        list[str] | None, typer.Option(help="Only γ at which a criterion decays by at most so much: mmlu=0.05,…")
    ] = None,
    over: Annotated[list[str] | None, typer.Option(help="Range of areas, for all alike: bits=3:8,…")] = None,
    model: ModelOption = None,
    wins: Annotated[bool, typer.Option("--wins", help="Which method of its kind is best, how often.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Which ordering rules of the literature hold.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Intervals, p and n as well; in csv and json all.")] = False,
    also: AlsoOption = None,
    target: OutOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """In which order? Composability of every set of methods and criterion, then which order is better."""
    from rayci import analysis
    from rayci.commands import result_view as view
    from rayci.commands.options import numbers, ranges

    unused = {"size": size, "axis": axis != "scaled", "within": within, "over": over, "wide": wide}
    if wins:
        _refuse("--wins", unused | {"rules": rules})
    elif rules:
        _refuse("--rules", unused | {"criterion": criterion, "along": along})
    files, table = Files.asked(also, target, folder), loaded(folder, model)
    chosen = at or ("middle" if axis == "scaled" and not over else "area")
    sizes = [whole(text, "--size") for text in listed(size)] or None
    bounds, areas = numbers(within, "--within") or None, ranges(over, "--over") or None
    criteria = listed(criterion) or None
    if wins:
        counted = analysis.wins(table, chosen, criteria=criteria, along=along)
        files.write(view.wins_beside(counted))
        view.print_wins(counted, chosen, format)
    elif rules:
        held = analysis.rules(table, at or "area")
        files.write(view.rules_beside(held))
        view.print_rules(held, folder, format)
    elif format is Format.TABLE and len(table.models()) > 1 and view.print_knowledge(table, criteria or ()):
        return  # no two models are compared, and the orders of each can be asked for
    else:
        answer = analysis.which_order(table, chosen, axis, criteria, along, sizes, bounds, over=areas)
        files.write(view.composability_beside(answer))
        view.print_which_order(answer, table, folder, format, criteria or (), wide=wide)


def compare(
    folder: RunPath,
    other: Annotated[str, typer.Argument(help="What to compare it with, likewise.", metavar="OTHER")],
    at: Annotated[str, typer.Option(help="Strength at which ordering rules compare pairs, as in metrics.")] = "area",
    model: ModelOption = None,
    other_model: Annotated[str | None, typer.Option(help="Model of OTHER, likewise.")] = None,
    wide: Annotated[bool, typer.Option("--wide", help="Every common cell, and the numbers of every rule.")] = False,
    part: Annotated[str, typer.Option(help="For --format csv: differences, correlations or rules.")] = "differences",
    also: AlsoOption = None,
    target: OutOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Where two results differ, whether they rank alike, and which ordering rules hold in each."""
    from rayci import analysis
    from rayci.commands.compare_view import check_part, parts_beside, print_two_tables

    check_part(part, format)
    files, here, there = Files.asked(also, target, folder), loaded(folder, model), loaded(other, other_model)
    told = analysis.compare(here, there, at)
    files.write(*parts_beside(told))
    print_two_tables(told, f"{folder} − {other}", format, part, wide=wide)


def recommend(
    folder: RunPath,
    needed: Annotated[
        list[str] | None, typer.Option("--need", help='"wmdp<=0.30", "abs(privleak)<=10"; may be repeated.')
    ] = None,
    minimize: Annotated[str | None, typer.Option(help="Criterion to have as low as the needs allow.")] = None,
    maximize: Annotated[str | None, typer.Option(help="As high.", show_default="general utility")] = None,
    model: ModelOption = None,
    also: AlsoOption = None,
    target: OutOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Which chain to build: those that meet the needs, how sure that is, and what other orders would cost."""
    from rayci import analysis
    from rayci.commands.recommend_view import chains_beside, print_recommendation

    files = Files.asked(also, target, folder)
    told = analysis.recommend(loaded(folder, model), needed or (), minimize, maximize)
    files.write(chains_beside(told))
    print_recommendation(told, folder if Path(folder).is_dir() else None, format)


def report(
    folder: RunPath,
    target: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report.", show_default="the run's")
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="Beside it: csv,md,tex,json; svg,pdf,png: figures for print.")
    ] = None,
    model: ModelOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it in a browser of this machine, always as the run is now.")
    ] = False,
    port: Annotated[int, typer.Option(help="Port of --watch.", show_default="any free one", min=0, max=65535)] = 0,
) -> None:
    """Write the self-contained HTML report of a run, or show it while the run goes on."""
    from rayci import analysis
    from rayci.analysis.page.overview import NO_PAIR, has_pairs
    from rayci.analysis.page.print_style import SUFFIXES
    from rayci.commands.run_facts import spec_of, tracebacks_of

    if watch:
        _watch(Path(folder), port, writes=bool(target or also))
        return
    table = loaded(folder, model)
    place = folder_of_files(target, folder)
    run, beside = Path(folder), listed(also)
    say(str(analysis.report(table, place, beside=beside, tracebacks=tracebacks_of(run), spec=spec_of(run))))
    if suffixes := [name for name in beside if name in SUFFIXES]:
        left_out = {} if has_pairs(table) else {"overview": NO_PAIR}
        left_out |= analysis.print_figures(table, place / "figures", suffixes)
        for name, reason in left_out.items():
            say(f"no figure {name}: {reason}", console=notes)


def _watch(folder: Path, port: int, *, writes: bool) -> None:
    """Serve the report until Ctrl-C."""
    from rayci.commands.watch import WatchedRun, serve

    if writes:
        raise RequestError("--watch writes no files", at="--watch", hint="leave out --out and --also, or --watch")
    with serve(WatchedRun(folder), port) as server:
        try:
            say(f"http://127.0.0.1:{server.server_port}/ shows {folder} as it is now; Ctrl-C ends it")
            server.serve_forever()
        except KeyboardInterrupt:
            say("Stopped.")


def _refuse(choice: str, options: Mapping[str, object]) -> None:
    """RequestError where an option is given that says nothing beside this choice."""
    for option, given in options.items():
        if given:
            raise RequestError(
                f"--{option} does not go with {choice}", at=f"--{option}", hint="leave out one of the two"
            )
