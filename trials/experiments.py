"""A schedule's trials as Tune experiments on one Ray: a large plan is several of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from ray import tune

from rayci.forecast.estimator import Estimator
from rayci.kinds import Keep
from rayci.planning.lifetimes import Lifetimes
from rayci.planning.plan import Plan, Stage
from rayci.planning.schedule import Schedule, at_hand
from rayci.storage.atomic import replacing
from rayci.storage.stages import Outcome
from rayci.trials import machine
from rayci.trials.assignment import Assignment, trial_config
from rayci.trials.callback import Callback
from rayci.trials.cluster import connected, nodes_lost
from rayci.trials.free_workers import FreeWorkers
from rayci.trials.limits import UNLIMITED, Budget, Limits
from rayci.trials.loggers import trackers
from rayci.trials.progress import ProgressBar, Silent
from rayci.trials.reservations import Reservations
from rayci.trials.run_folder import RunFolder
from rayci.trials.search import Hooks, PrefixSearcher, Stopped
from rayci.trials.telling import Telling
from rayci.trials.trainable import CompositionTrial
from rayci.trials.whole_stages import LOST
from rayci.trials.work import Work
from rayci.trials.worker_errors import FILE

EXPERIMENT = 5000
"""Trials in one Tune experiment: its state (11 KB a trial) is written over and over, its memory (49 KB) kept."""

FETCH_EVERY = 60.0
"""Seconds between two looks for rows that workers wrote elsewhere."""

RETRIES = 2
"""How often a trial whose worker died is started again."""


class Experiments:
    """Runs what is left of a plan."""

    def __init__(
        self,
        estimator: Estimator,
        plan: Plan,
        assignment: Assignment,
        folder: RunFolder,
        reservations: Reservations,
        todo: list[int],
        done: Collection[str],
        *,
        total: int,
        limits: Limits = UNLIMITED,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self._plan, self._assignment, self._folder, self._knobs = plan, assignment, folder, assignment.knobs
        self._reservations, self._workers = reservations, machine.workers(self._knobs, plan.spec.resources)
        self._store = folder.open_store()
        stored = self._store.stored()
        ready = set(done)
        if self._knobs.sharing:
            ready = at_hand(plan, todo, done, lambda stage: stage in stored and self._store.has_weights(stage))
        self._lifetimes = Lifetimes(plan, todo, done)
        # What a killed run left behind, but for stages that are yet to be measured: they need no step again.
        self._free(self._lifetimes.unneeded(stored) - (plan.stages.keys() - set(done)))
        seconds = estimator.stage_seconds(plan)
        self._budget = None if limits == UNLIMITED else self._limited(limits, seconds, done)
        self._schedule = Schedule(plan, todo, ready, seconds=seconds, sharing=self._knobs.sharing)
        left = {s.fingerprint: seconds(s) for i in todo for s in plan.trials[i].stages if s.fingerprint not in done}
        self._fetched = time.monotonic()
        self._telling = Telling(plan, callbacks)
        self._bar = ProgressBar(
            folder, self._schedule, Work(left), total=total, done=total - len(todo), quiet=self._knobs.quiet
        )

    def run(self) -> tuple[dict[str, int], list[str]]:
        """Run to the end or to an interruption; counts and notes."""
        resources = self._plan.spec.resources
        (self._folder.root / FILE).unlink(missing_ok=True)
        gpus = machine.gpus(resources, self._reservations, self._workers)
        with connected(self._knobs, resources, workers=self._workers, gpus=gpus):
            try:
                while not self._schedule.empty:
                    searcher = self._experiment()
                    if searcher.stopped:
                        raise searcher.stopped
                    if searcher.running:  # interrupted
                        break
                else:
                    self._free(self._lifetimes.unneeded(self._store.stored()))
            finally:
                self._bar.close()
        return self._bar.counts, [*self._bar.notes, *self._telling.notes, *self._store.take_notes()]

    @property
    def left(self) -> str:
        """What is said of trials that a limit held back; empty where there are none."""
        held_back = self._schedule.held_back
        return self._budget.left(held_back) if self._budget and held_back else ""

    def _limited(self, limits: Limits, seconds: Callable[[Stage], float], done: Collection[str]) -> Budget:
        def foreseen(index: int) -> float:
            own = self._plan.trials[index].stages[self._schedule.first(index) :]
            return sum(seconds(stage) for stage in own if stage.fingerprint not in done)

        return Budget(limits, foreseen, self._reservations.gpus)

    def _experiment(self) -> PrefixSearcher:
        """One Tune experiment of at most `EXPERIMENT` trials."""
        hooks = Hooks(self._lost, self._ended, self._stopped, nodes_lost)
        stages = self._plan.trials
        searcher = PrefixSearcher(
            self._schedule,
            self._config,
            lambda index: [stage.fingerprint for stage in stages[index].stages],
            self._reservations,
            EXPERIMENT,
            hooks,
            self._budget,
            at_once=None if self._knobs.address else self._workers,
            gpu_limit=self._knobs.gpu_limit,
        )
        with tempfile.TemporaryDirectory(prefix="rayci-tune-") as state:
            self._tuner(searcher, state).fit()
        return searcher

    def _tuner(self, searcher: PrefixSearcher, state: str) -> tune.Tuner:
        """Tune; nobody reads its `state`, so it does not lie on the run's disk, which may be full or shared."""
        return tune.Tuner(
            tune.with_parameters(CompositionTrial, assignment=self._assignment),
            tune_config=tune.TuneConfig(
                search_alg=searcher, scheduler=FreeWorkers(), num_samples=EXPERIMENT, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name=f"{datetime.now():%Y%m%d-%H%M%S-%f}",
                storage_path=str(self._folder.tune) if "tensorboard" in self._knobs.log else state,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                # At the end of a class trainable's trial Tune saves one by default; a full disk would fail the trial.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                stop=Stopped(searcher),
                callbacks=[
                    self._bar,
                    self._telling,
                    *trackers(self._knobs.log, self._plan.spec.name, self._folder.root),
                ],
                progress_reporter=Silent(),
                verbose=0,
            ),
        )

    def _config(self, index: int) -> dict[str, Any]:
        trial = self._plan.trials[index]
        return trial_config(
            self._plan,
            trial,
            first=self._schedule.first(index),
            keep=[self._keeps(stage) for stage in trial.stages],
            resources=self._reservations.of(index),
            last_try=self._reservations.last(index),
        )

    def _keeps(self, stage: Stage) -> bool:
        """Whether others go on from a stage, be it one that was stored and turns out to be damaged, or all are kept."""
        shared = self._schedule.keeps(stage.fingerprint) or (
            stage.depth and self._lifetimes.users(stage.fingerprint) > 1
        )
        return bool(shared or (self._knobs.keep == Keep.ALL and stage.depth))

    def _lost(self, stage: str, traceback: str | None) -> None:
        self._store.put_outcome(stage, Outcome(0.0, None, LOST, traceback))
        self._bar.give_up()
        self._telling.lost(stage, LOST)

    def _stopped(self, traceback: str) -> None:
        with replacing(self._folder.root / FILE) as temporary:
            temporary.write_text(traceback)

    def _ended(self, index: int) -> None:
        self._free(self._lifetimes.end(index))
        if time.monotonic() - self._fetched > FETCH_EVERY:
            self._folder.fetch(self._plan)
            self._fetched = time.monotonic()

    def _free(self, stages: Iterable[str]) -> None:
        """Delete objects that no trial needs, and weights where none are kept; all stay in a store that runs share."""
        if self._folder.own_store:
            free = self._store.free_weights if self._knobs.keep == Keep.NONE else self._store.free_objects
            for stage in stages:
                free(stage)
