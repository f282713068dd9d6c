"""`rayci metrics` and `report`: what a finished or running sweep says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rayci.commands.console import Format, say
from rayci.commands.options import FormatOption, RunPath, listed, names


def metrics(
    folder: RunPath,
    at: Annotated[str, typer.Option(help="area; published (γ .25, 4 bits); or one γ.")] = "area",
    axis: Annotated[str, typer.Option(help="γ axis of areas: scaled to [0, 1], gamma, or avg_bits.")] = "scaled",
    criterion: Annotated[
        list[str] | None, typer.Option("--criterion", "-c", help="Only these.", autocompletion=names("criteria"))
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="Intervals and reasons as well.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Order-free error and order sensitivity of every pair and criterion."""
    from rayci.commands.summary import print_metrics

    print_metrics(folder, at, axis, criterion, wide, format)


def report(
    folder: RunPath,
    target: Annotated[Path | None, typer.Option("--out", help="Folder of the report. [default: the run's]")] = None,
    also: Annotated[list[str] | None, typer.Option(help="Beside it: csv,md,tex,json,png,svg.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it in a browser of this machine, always as the run is now.")
    ] = False,
    port: Annotated[int, typer.Option(help="Port of --watch. [default: any free one]", min=0, max=65535)] = 0,
) -> None:
    """Write the self-contained HTML report of a run, or show it while the run goes on."""
    from rayci import analysis
    from rayci.commands.run_facts import spec_of, tracebacks_of
    from rayci.storage.user_paths import folder_to_write

    if watch:
        _watch(Path(folder), port, writes=bool(target or also))
        return
    table = analysis.load(folder)
    place = folder_to_write(target or (folder if Path(folder).is_dir() else Path.cwd()), "--out")
    run = Path(folder)
    say(str(analysis.report(table, place, beside=listed(also), tracebacks=tracebacks_of(run), spec=spec_of(run))))


def _watch(folder: Path, port: int, *, writes: bool) -> None:
    """Serve the report until Ctrl-C."""
    from rayci.commands.watch import WatchedRun, serve
    from rayci.errors import RequestError

    if writes:
        raise RequestError("--watch writes no files", at="--watch", hint="leave out --out and --also, or --watch")
    with serve(WatchedRun(folder), port) as server:
        try:
            say(f"http://127.0.0.1:{server.server_port}/ shows {folder} as it is now; Ctrl-C ends it")
            server.serve_forever()
        except KeyboardInterrupt:
            say("Stopped.")
