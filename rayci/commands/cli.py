"""The command line: wiring only. Heavy modules load in the command that needs them."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rayci import __version__
from rayci.commands.console import Format, notes, pairs, say, show
from rayci.commands.last_resort import unexpected
from rayci.errors import RayciError, RequestError, refuse

OK, SOME_FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    help="Edit, compress and unlearn a language model in every order, and measure what survives.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 all well, 1 some trials failed, 2 the request was wrong, 130 interrupted.",
)

SpecPath = Annotated[Path, typer.Argument(help="A sweep as YAML.", metavar="SPEC", show_default=False)]
RunPath = Annotated[
    str,
    typer.Argument(help="A run folder, a Parquet table, or published:llama3_8b.", metavar="RUN", show_default=False),
]
FormatOption = Annotated[Format, typer.Option("--format", help="json and csv go to standard output alone.")]


def _names(kind: str) -> Any:
    def complete(incomplete: str) -> list[str]:
        from rayci import registry

        return [name for name in getattr(registry, kind)() if name.startswith(incomplete)]

    return complete


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Edit, compress and unlearn a language model in every order, and measure what survives."""
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def plan(
    spec: SpecPath,
    trials: Annotated[bool, typer.Option("--trials", help="List every trial instead of the counts.")] = False,
    times: Annotated[
        str | None, typer.Option(help="A run whose measured times to use. [default: runs/<name>, if there]")
    ] = None,
    price: Annotated[float | None, typer.Option(help="USD a GPU-hour; wins over the spec's.", min=0)] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show what a sweep would run and cost: trials, stages and evaluations, disk, memory, hours, money."""
    from rayci.commands.plan_view import foresee, readable
    from rayci.planning import plan as plans
    from rayci.planning import spec as specs
    from rayci.planning import yaml_source
    from rayci.planning.faults import Examination

    source = yaml_source.read(spec)
    sweep = specs.from_source(source)
    examined = Examination.of(sweep, source, elsewhere=True)
    refuse(examined.faults())
    planner = plans.Planner(sweep, plans.Names(sweep))
    trial_plan = planner.plan()
    if trials:
        rows = [
            {"trial": t.id, "composition": t.composition, "replicate": t.replicate, "seed": t.seed}
            for t in trial_plan.trials
        ]
        show(rows, format, title=f"{sweep.name}: trials in the order in which they start")
        return
    values = foresee(planner, trial_plan, times=times, price=None if price is None else _finite(price, "--price"))
    values["notes"] = [*examined.unknown(), *values["notes"]]
    if format is Format.JSON:
        print_json(values)
    elif format is Format.CSV:
        show([{**values, "notes": "; ".join(values["notes"])}], format)
    else:
        facts = {"model": sweep.model, "recompress": sweep.recompress}
        pairs(facts | readable(values), title=sweep.name)
        for note in values["notes"]:
            say(f"· {note}", console=notes)


@app.command()
def run(
    spec: SpecPath,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Run folder. [default: runs/<name>]")] = None,
    store: Annotated[
        str | None, typer.Option(help="Stage store to share with other runs, a folder or a URL. [default: <out>/store]")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Folder or URL that all nodes see, for rows and stages. [default: <out>]")
    ] = None,
    store_limit: Annotated[float | None, typer.Option(help="GiB that stored weights may take.", min=0)] = None,
    workers: Annotated[int | None, typer.Option(help="Trials at a time. [default: what the cores allow]")] = None,
    address: Annotated[str | None, typer.Option(help="Join a running Ray cluster.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this composition; may be repeated.")] = None,
    replicate: Annotated[int | None, typer.Option(help="Only this edit batch.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only this seed index.")] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Run one trial in this process, with tracebacks; writes nothing.")
    ] = False,
    log: Annotated[list[str] | None, typer.Option(help="Also log to wandb, mlflow or tensorboard.")] = None,
    sharing: Annotated[bool, typer.Option("--sharing/--no-sharing", help="Share stages between trials.")] = True,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Compute failed stages again.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress display.")] = False,
) -> None:
    """Run a sweep, or the rest of it, then print the composability table and write the report."""
    from rayci.commands.summary import print_debug, print_run
    from rayci.trials import Knobs, launch
    from rayci.trials.knobs import GIB

    if debug:
        raise typer.Exit(SOME_FAILED if print_debug(spec, only or [], replicate, seed) else OK)
    knobs = Knobs(
        out=out_folder,
        store=store,
        storage=storage,
        store_limit=None if store_limit is None else int(_finite(store_limit, "--store-limit") * GIB),
        only=only or (),
        replicate=replicate,
        seed=seed,
        log=log or (),
        workers=workers,
        address=address,
        sharing=sharing,
        retry_failed=retry_failed,
        quiet=quiet,
    )
    try:
        done = launch(spec, knobs)
        complete = done.complete
    except KeyboardInterrupt:
        complete = False
    if not complete:
        say(f"Interrupted. The same command continues: {knobs.command(spec)}", console=notes)
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(SOME_FAILED if print_run(done, spec) else OK)


@app.command()
def status(
    folder: RunPath,
    failures: Annotated[bool, typer.Option("--failures", help="What failed, with tracebacks.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Say how far a run is, from another terminal or later."""
    from rayci.commands.summary import print_failures
    from rayci.trials.run_folder import RunFolder

    state = RunFolder(Path(folder)).state()
    if failures:
        print_failures(Path(folder), format)
        return
    pairs(state, title=folder) if format is Format.TABLE else print_json(state)


@app.command()
def report(
    folder: RunPath,
    target: Annotated[Path | None, typer.Option("--out", help="Folder of the report. [default: the run's]")] = None,
    also: Annotated[list[str] | None, typer.Option(help="Beside it: csv, md, tex, json, png or svg.")] = None,
) -> None:
    """Write the self-contained HTML report of a run."""
    from rayci import analysis
    from rayci.commands.summary import tracebacks_of
    from rayci.storage.user_paths import folder_to_write

    table = analysis.load(folder)
    place = folder_to_write(target or (folder if Path(folder).is_dir() else Path.cwd()), "--out")
    say(str(analysis.report(table, place, beside=also or (), tracebacks=tracebacks_of(Path(folder)))))


@app.command()
def metrics(
    folder: RunPath,
    at: Annotated[str, typer.Option(help="area; published (γ .25, 4 bits); or one γ.")] = "area",
    axis: Annotated[str, typer.Option(help="γ axis of areas: scaled to [0, 1], gamma, or avg_bits.")] = "scaled",
    criterion: Annotated[
        list[str] | None, typer.Option("--criterion", "-c", help="Only these.", autocompletion=_names("criteria"))
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="Intervals and reasons as well.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Order-free error and order sensitivity of every pair and criterion."""
    from rayci.commands.summary import print_metrics

    print_metrics(folder, at, axis, criterion, wide, format)


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="One method.", autocompletion=_names("interventions"))] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the interventions, or show the settings of one."""
    _listing("methods", name, format)


@app.command()
def criteria(
    name: Annotated[str | None, typer.Argument(help="One criterion.", autocompletion=_names("criteria"))] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the criteria, or show the settings of one."""
    _listing("criteria", name, format)


def _listing(what: str, name: str | None, format: Format) -> None:
    from rayci import registry
    from rayci.commands import describe

    if name is None:
        rows = describe.methods() if what == "methods" else describe.criteria()
        show(rows, format, title=what.capitalize())
        return
    cls = registry.intervention(name) if what == "methods" else registry.criterion(name)
    if format is Format.TABLE:
        say(describe.source(cls) + "\n")
    show(describe.settings(cls), format, title=f"Settings of {name}")


@app.command()
def doctor(format: FormatOption = Format.TABLE) -> None:
    """Check Python, torch, GPU, Ray, memory, disk and hub access, and say what to do about the rest."""
    from rayci.commands.doctor import examine

    findings = examine()
    show([finding.__dict__ for finding in findings], format)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(SOME_FAILED)


def print_json(value: Any) -> None:
    """A single JSON value on standard output."""
    import json

    print(json.dumps(value, indent=1, ensure_ascii=False))


def _finite(value: float, option: str) -> float:
    if not math.isfinite(value):
        raise RequestError(f"{option} {value}", at=option, allowed="a finite number")
    return value


def main() -> None:
    """Entry point: whatever goes wrong is one message on standard error, never a traceback."""
    try:
        app(prog_name="rayci")
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(OK)
    except KeyboardInterrupt:
        notes.print("Interrupted. The same command continues.")
        sys.exit(INTERRUPTED)
    except Exception as error:
        expected = error if isinstance(error, RayciError) else unexpected(error)
        say(f"error: {expected}", "red", console=notes)
        sys.exit(WRONG_REQUEST if isinstance(error, RequestError) else SOME_FAILED)
