"""`rayci init`, `plan`, `run` and `status`: a sweep to begin with, what it would do, doing it, how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rayci.commands import run_options as options
from rayci.commands.console import Format, say
from rayci.commands.options import (
    OK,
    SOME_FAILED,
    FormatOption,
    SetOption,
    SpecPath,
    WorkersOption,
    finite,
    listed,
    names,
)
from rayci.errors import RequestError, refuse
from rayci.kinds import Keep


def init(
    model: Annotated[str, typer.Option(help="testbed, a folder, or a hub id.")] = "testbed",
    methods: Annotated[
        list[str] | None,
        typer.Option(help="What to apply, with commas.", autocompletion=names("interventions"), show_default="a few"),
    ] = None,
    target: Annotated[Path, typer.Option("--out", help="A new file.")] = Path("sweep.yaml"),
) -> None:
    """Write a commented starter spec, for `rayci plan` and `rayci run`."""
    from rayci.commands.starter import starter
    from rayci.storage.user_paths import path_of

    text = starter(model, listed(methods), str(target))
    try:
        with path_of(target, "--out").open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise RequestError(f"{target} is there already", at="--out", hint="--out with another name") from None
    except OSError as error:
        raise RequestError(f"{target} cannot be written: {error.strerror}", at="--out") from None
    say(f"{target}: rayci plan {target} says what it will run")


def plan(
    spec: SpecPath,
    set: SetOption = None,
    trials: Annotated[bool, typer.Option("--trials", help="List every trial instead of the counts.")] = False,
    times: Annotated[
        str | None, typer.Option(help="A run whose measured times to use.", show_default="runs/<name>, if there")
    ] = None,
    price: Annotated[float | None, typer.Option(help="USD a GPU-hour; wins over the spec's.", min=0)] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Measure this machine for a few seconds, where the sweep is to run.")
    ] = False,
    workers: WorkersOption = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="A run to go on with: what is left.", show_default="runs/<name>")
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show what a sweep would run and cost: trials, stages and evaluations, disk, memory, hours, money.

    Of a run that was begun or finished, also what is left: a criterion that was added, say.
    """
    from rayci.commands.plan_view import foresee, print_plan, print_trials
    from rayci.planning import plan as plans
    from rayci.planning.faults import Examination
    from rayci.trials.asked_spec import read_spec

    sweep, source = read_spec(spec, set or ())
    examined = Examination.of(sweep, source, elsewhere=True)
    refuse(examined.faults())
    sweep = examined.spec
    planner = plans.Planner(sweep, plans.Names(sweep))
    trial_plan = planner.plan()
    if trials:
        print_trials(trial_plan, format)
        return
    rate = None if price is None else finite(price, "--price")
    values = foresee(
        planner, trial_plan, examined.data, run=out_folder, times=times, price=rate, probe=probe, workers=workers
    )
    values["notes"] = [*examined.unknown(), *examined.notes, *values["notes"]]
    print_plan(sweep, values, format)


def run(
    spec: SpecPath,
    set: SetOption = None,
    out_folder: options.RunFolder = None,
    store: options.Store = None,
    storage: options.Storage = None,
    store_limit: options.StoreLimit = None,
    workers: WorkersOption = None,
    address: options.Address = None,
    gpu_limit: options.GpuLimit = None,
    only: options.Only = None,
    replicate: options.Replicate = None,
    seed: options.Seed = None,
    debug: options.Debug = False,
    log: options.Log = None,
    sharing: options.Sharing = True,
    keep: options.Kept = Keep.SHARED,
    keep_weights: options.KeepWeights = False,
    max_cost: options.MaxCost = None,
    max_hours: options.MaxHours = None,
    deadline: options.Deadline = None,
    retry_failed: options.RetryFailed = False,
    preflight: options.Preflight = True,
    quiet: options.Quiet = False,
) -> None:
    """Run a sweep, or the rest of it, then print the composability table and write the report."""
    from rayci.commands.summary import print_debug, print_end
    from rayci.trials import Knobs, launch
    from rayci.units import GIB

    if debug:
        raise typer.Exit(SOME_FAILED if print_debug(spec, set or [], only or [], replicate, seed) else OK)
    knobs = Knobs(
        set=set or (),
        out=out_folder,
        store=store,
        storage=storage,
        store_limit=None if store_limit is None else int(finite(store_limit, "--store-limit") * GIB),
        only=only or (),
        replicate=replicate,
        seed=seed,
        log=log or (),
        workers=workers,
        address=address,
        gpu_limit=gpu_limit,
        sharing=sharing,
        keep=Keep.ALL if keep_weights else keep,
        max_cost=max_cost,
        max_hours=max_hours,
        deadline=deadline,
        retry_failed=retry_failed,
        preflight=preflight,
        quiet=quiet,
    )
    try:
        done = launch(spec, knobs)
    except KeyboardInterrupt:
        done = None
    raise typer.Exit(print_end(done, spec, knobs))


def status(
    folder: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN", show_default=False)],
    failures: Annotated[bool, typer.Option("--failures", help="What failed, with tracebacks.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Say how far a run is and where the time went, from another terminal or later."""
    from rayci.commands.summary import print_failures
    from rayci.commands.time_view import print_state, time_so_far
    from rayci.trials.run_folder import RunFolder

    run = RunFolder(folder)
    state = run.state()
    if failures:
        print_failures(folder, format)
        return
    print_state(state, time_so_far(run.parts), str(folder), format)
