"""Run a sweep on Ray: plan, skip what is done, run the rest, settle what was lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rayci import table
from rayci.errors import RequestError
from rayci.planning import spec as specs
from rayci.planning import yaml_source
from rayci.planning.plan import Plan
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.trials.cluster import check_address
from rayci.trials.loggers import known_loggers
from rayci.trials.request import Request, absolute
from rayci.trials.run_folder import RunFolder
from rayci.trials.selection import Selection
from rayci.trials.settle import forget_failures, settle

if TYPE_CHECKING:
    from rayci.table import ResultTable


@dataclass(frozen=True)
class Run:
    """A sweep that was run: where its results are and how it went."""

    plan: Plan
    folder: RunFolder
    complete: bool
    """Whether every stage that was asked for has its rows; False after an interruption."""
    computed: bool
    """Whether anything was computed now; False where all had been done before."""
    counts: dict[str, int]
    """Trials by state, steps applied, stages shared."""
    notes: tuple[str, ...] = ()
    """What happened beside the rows: a damaged stage set aside, a full disk, memory that did not suffice."""

    @property
    def table(self) -> ResultTable:
        """The result table; read anew at every call."""
        return table.read(self.folder.root)


@dataclass(frozen=True)
class Options:
    """How a sweep is run; nothing here changes a value in the table."""

    address: str | None = None
    """A running Ray cluster to join; None starts Ray on this machine."""
    workers: int | None = None
    """Trials at a time on this machine; by default what the cores allow."""
    sharing: bool = True
    """Whether stages are shared; without, every composition is computed and measured from scratch."""
    store_limit: int | None = None
    """Bytes that stored weights may take."""
    quiet: bool = True
    """No progress display."""
    log: tuple[str, ...] = ()
    """Experiment trackers: wandb, mlflow, tensorboard."""

    def check(self) -> None:
        """RequestError for what cannot be right."""
        if self.workers is not None and self.workers < 1:
            raise RequestError(f"workers = {self.workers}", at="--workers", allowed="1 or more")
        known_loggers(self.log)
        if self.address is not None:
            check_address(self.address)


def launch(
    spec: Spec | Path | str,
    *,
    out: Path | str | None = None,
    store: Path | str | None = None,
    storage: Path | str | None = None,
    retry_failed: bool = False,
    only: Sequence[str] = (),
    replicate: int | None = None,
    seed: int | None = None,
    address: str | None = None,
    workers: int | None = None,
    sharing: bool = True,
    store_limit: int | None = None,
    quiet: bool = True,
    log: Sequence[str] = (),
) -> Run:
    """Run a sweep, or the rest of it, and return its handle.

    `out` is the run folder (default `runs/<name>`); `storage` a folder or URL that every node of a
    cluster sees, where workers write rows and stages (default: the run folder); `store` a stage
    store to share with other runs. `only`, `replicate` and `seed` choose among the trials; the rest is in
    `Options`. Ray does not start where nothing is left to do. Raises RequestError, before
    anything is written, for a request that is wrong.
    """
    options = Options(address, workers, sharing, store_limit, quiet, tuple(log))
    source = None
    if not isinstance(spec, Spec):
        source = yaml_source.read(Path(spec))
        spec = specs.from_source(source)
    selection = Selection.of(spec, only, replicate, seed)
    sweep = Sweep.open(absolute(spec), source)
    # Rows of another sweep may lie at the same place.
    place = f"{str(storage).rstrip('/')}/{spec.name}-{sweep.fingerprint[:12]}" if storage else None
    folder = RunFolder(Path(out or Path("runs") / spec.name), store, place)
    folder.check(sweep)
    options.check()
    plan = sweep.planner.plan()
    wanted = selection.indices(plan)
    with folder.locked():
        folder.open_store().check()
        folder.describe(sweep, plan)
        if retry_failed:
            forget_failures(folder, plan)
        done = folder.done(plan)
        new = folder.own_store and not done  # its store is empty
        if sharing and not new and len(done) < len(plan.stages):
            done = settle(sweep, plan, folder, done)
        todo = [i for i in wanted if any(stage.fingerprint not in done for stage in plan.trials[i].stages)]
        if not todo:
            counts = {"total": len(wanted), "done": len(wanted)}
            return Run(plan, folder, True, False, counts, tuple(folder.notes))
        return _run(sweep, plan, folder, wanted, todo, done, options)


def _run(
    sweep: Sweep, plan: Plan, folder: RunFolder, wanted: list[int], todo: list[int], done: set[str], options: Options
) -> Run:
    from rayci.trials.experiments import Experiments  # Ray loads only where there is something to run

    folder.tidy()
    request = Request(sweep.spec, folder.workers_parts, folder.store, options.sharing, options.store_limit)
    experiments = Experiments(sweep, plan, request, folder, options, todo, done, total=len(wanted))
    counts, notes = experiments.run()
    folder.fetch(plan)
    if counts["given_up"]:
        settle(sweep, plan, folder, folder.done(plan), ended=True)
    asked = {stage.fingerprint for i in wanted for stage in plan.trials[i].stages}
    complete = all(folder.part(stage).is_file() for stage in asked)
    return Run(plan, folder, complete, True, counts, (*folder.notes, *notes))
