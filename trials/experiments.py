"""A schedule's trials as Tune experiments on one Ray: a large plan is several of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Iterable, Sequence
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
from rayci.trials.cluster import nodes_lost
from rayci.trials.free_workers import FreeWorkers
from rayci.trials.limits import UNLIMITED, Budget, Limits
from rayci.trials.loggers import trackers
from rayci.trials.placement import unplaceable
from rayci.trials.progress import ProgressBar, Silent
from rayci.trials.run_folder import RunFolder
from rayci.trials.search import Hooks, PrefixSearcher, Stopped
from rayci.trials.session import Session
from rayci.trials.telling import Telling
from rayci.trials.trainable import CompositionTrial
from rayci.trials.waiting import Waiting
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
    """Runs what is left of a plan, on the Ray of a session."""

    def __init__(
        self,
        estimator: Estimator,
        plan: Plan,
        assignment: Assignment,
        folder: RunFolder,
        session: Session,
        todo: list[int],
        done: Collection[str],
        *,
        total: int,
        limits: Limits = UNLIMITED,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self._plan, self._assignment, self._folder, self._knobs = plan, assignment, folder, assignment.knobs
        self._session, self._reservations = session, session.reservations
        self.unplaced = dict(session.unplaced)
        """Trials that no node can hold, each with the reason of its rows."""
        self._left = set(todo) - self.unplaced.keys()
        self._store = folder.open_store()
        self._lifetimes = Lifetimes(plan, sorted(self._left), done)
        # What a killed run left behind, but for stages that are yet to be measured: they need no step again.
        self._free(self._lifetimes.unneeded(self._store.stored()) - (plan.stages.keys() - set(done)))
        self._seconds = estimator.stage_seconds(plan)
        self._budget = self._limited(limits, done) if limits.limiting else None
        self._schedule = self._scheduled(done)
        stages = (stage for index in self._left for stage in plan.trials[index].stages)
        self._fetched = time.monotonic()
        self._telling, self._waiting = Telling(plan, callbacks), Waiting(session.capacity)
        self._bar = ProgressBar(
            folder,
            lambda: self._schedule.waiting,
            self._waiting,
            Work({stage.fingerprint: self._seconds(stage) for stage in stages if stage.fingerprint not in done}),
            total=total,
            done=total - len(todo),
            quiet=self._knobs.quiet,
        )
        self._bar.skip(len(self.unplaced))

    def run(self) -> tuple[dict[str, int], list[str]]:
        """Run to the end or to an interruption; counts and notes."""
        (self._folder.root / FILE).unlink(missing_ok=True)
        try:
            while not self._schedule.empty:
                searcher = self._experiment()
                if searcher.stopped:
                    raise searcher.stopped
                if searcher.withdrawn:
                    self._plan_anew()
                elif searcher.running:  # interrupted
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

    def _limited(self, limits: Limits, done: Collection[str]) -> Budget:
        def foreseen(index: int) -> float:
            own = self._plan.trials[index].stages[self._schedule.first(index) :]
            return sum(self._seconds(stage) for stage in own if stage.fingerprint not in done)

        return Budget(limits, foreseen, self._reservations.gpus)

    def _scheduled(self, done: Collection[str]) -> Schedule:
        """The trials that are left, where these stages have their rows."""
        todo, ready = sorted(self._left), set(done)
        if self._knobs.sharing:
            stored = self._store.stored()
            ready = at_hand(self._plan, todo, done, lambda s: s in stored and self._store.has_weights(s))
        return Schedule(self._plan, todo, ready, seconds=self._seconds, sharing=self._knobs.sharing)

    def _plan_anew(self) -> None:
        """Go on without trials that no node can hold any more; one whose share has grown goes back to what there is.

        RequestError where the spec does not let them be skipped.
        """
        session = self._session
        gone = unplaceable(self._plan, self._left, self._reservations, session.capacity.now(), session.blame)
        self.unplaced |= gone
        self._bar.skip(len(gone))
        self._left -= gone.keys()
        for index in gone:
            self._free(self._lifetimes.end(index))
        self._folder.fetch(self._plan)
        self._schedule = self._scheduled(self._folder.held())

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
            at_once=None if self._knobs.address else machine.workers(self._knobs, self._plan.spec.resources),
            gpu_limit=self._knobs.gpu_limit,
        )
        self._waiting.watch(searcher)
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
                    self._waiting,
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
            no_more=self._reservations.no_more(index),
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
        self._left.discard(index)
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
