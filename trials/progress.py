"""One live line instead of Tune's tables; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import ray
from ray import tune

from rayci.trials.progress_line import ProgressLine, counters, time_left
from rayci.trials.run_folder import RunFolder
from rayci.trials.waiting import Waiting
from rayci.trials.work import Work

PLAIN_EVERY = 15.0
"""Seconds between plain lines."""
LIVE_EVERY = 0.2
SILENT = 5.0
"""Seconds without an event after which the line is drawn nevertheless."""
STATE_EVERY = 1.0
"""Seconds between two versions of `progress.json`."""


class Silent(tune.ProgressReporter):  # type: ignore[misc]
    """Keeps Tune's own tables off the screen."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: Any) -> None:
        return None


class ProgressBar(tune.Callback):  # type: ignore[misc]
    """Counts what happens and draws it on standard error; also writes `progress.json`."""

    def __init__(
        self,
        folder: RunFolder,
        for_a_stage: Callable[[], int],
        waiting: Waiting,
        work: Work,
        *,
        total: int,
        done: int,
        quiet: bool,
    ) -> None:
        """`for_a_stage` says how many trials wait for a stage of another one, `waiting` what others wait for."""
        self._folder, self._for_a_stage, self._waiting, self._work = folder, for_a_stage, waiting, work
        self._quiet = quiet
        self._counts = {"total": total, "done": done, "running": 0, "waiting": 0, "failed": 0}
        self._counts |= {"given_up": 0, "skipped": 0}
        self._stages = {"applied": 0, "measured": 0, "shared": 0}
        self._applied: dict[str, int] = {}
        self._gpus: dict[str, float] = {}
        self.notes: dict[str, None] = {}
        """What workers said beside the rows, in order: a damaged stage set aside, a full disk."""
        self._started = time.time()
        self._drawn = self._last_line = self._last_state = 0.0
        self._line: ProgressLine | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles callbacks with each experiment, and a live display holds locks.
        return {}

    @property
    def counts(self) -> dict[str, int]:
        """Trials by state, and stages applied, measured and taken from elsewhere."""
        return self._counts | self._stages

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.time() - self._drawn > SILENT:  # nothing happens, which is worth telling, too
            self._draw(trials)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._draw(trials)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._take_in(trial, result)
        self._draw(trials)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._counts["done"] += "stage" in (trial.last_result or {})
        self._draw(trials)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._applied.pop(trial.trial_id, None)
        self._draw(trials)

    def give_up(self) -> None:
        """Count a trial that is not tried again."""
        self._counts["given_up"] += 1

    def skip(self, count: int) -> None:
        """Count trials that no node can hold."""
        self._counts["skipped"] += count

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self.close()

    def close(self) -> None:
        """Write the last state and leave the display."""
        self._counts["running"] = 0
        self._report(time.time())
        if self._line is not None:
            self._line.stop()
            self._line = None

    def _take_in(self, trial: Any, result: dict[str, Any]) -> None:
        if "out_of_memory" in result:
            gpus = trial.config["resources"]["GPU"]
            self.notes[f"{result['out_of_memory']}; it had {gpus:g} GPU, and is tried with more"] = None
        if "fault" in result:
            self.notes[f"a worker ended, and its trial was tried on another: {result['fault']}"] = None
        if "stage" not in result:
            return
        self.notes |= dict.fromkeys(result["notes"])
        self._stages["applied"] += result["applied"]
        self._stages["measured"] += result["measured"]
        applied = self._applied[trial.trial_id] = self._applied.get(trial.trial_id, 0) + result["applied"]
        if result["complete"]:
            self._work.finish(result["stage"])
        if result["done"]:
            del self._applied[trial.trial_id]
            self._counts["failed"] += result["failure"] is not None
            self._stages["shared"] += 0 if result["failure"] else max(0, len(trial.config["owners"]) - 1 - applied)

    def _draw(self, trials: list[Any]) -> None:
        now = time.time()
        live = sys.stderr.isatty() and not self._quiet
        if now - self._drawn < LIVE_EVERY and self._counts["done"] < self._counts["total"]:
            return
        self._drawn = now
        running = [trial for trial in trials if trial.status == "RUNNING"]
        self._counts |= {"running": len(running), "waiting": self._for_a_stage()}
        self._gpus = _gpus(running)
        if now - self._last_state > STATE_EVERY:
            self._report(now)
            self._last_state = now
        if live:
            self._live(now)
        elif not self._quiet and now - self._last_line > PLAIN_EVERY:
            self._last_line = now
            said = [f"{self._counts['done']}/{self._counts['total']} trials", time_left(self._left(now))]
            said += [counters(self._counts, self._stages, self._gpus), self._waiting.words]
            print(", ".join(filter(None, said)), file=sys.stderr, flush=True)

    def _report(self, now: float) -> None:
        state = {**self.counts, **self._gpus, "seconds_left": self._left(now), "waits_for": self._waiting.words or None}
        state |= {"at": now, "started": self._started}
        self._folder.report_progress(state)

    def _left(self, now: float) -> float | None:
        return self._work.left(now - self._started)

    def _live(self, now: float) -> None:
        if self._line is None:
            self._line = ProgressLine(self._counts["total"])
        words = filter(None, (self._waiting.words, counters(self._counts, self._stages, self._gpus)))
        self._line.update(self._counts["done"], self._left(now), ", ".join(words))


def _gpus(running: list[Any]) -> dict[str, float]:
    """GPUs of the cluster and those that running trials hold; empty where there are none."""
    total = ray.cluster_resources().get("GPU", 0.0)
    held = sum(trial.placement_group_factory.required_resources.get("GPU", 0.0) for trial in running)
    return {"gpus_reserved": held, "gpus": max(total, held)} if total or held else {}
