"""The Trainable: one trial is one composition, one `step()` one stage."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ray import tune

from rayci.errors import OutOfMemory, RequestError, StorageError
from rayci.trials.assignment import Assignment

if TYPE_CHECKING:
    from rayci.running.runner import Runner, StageReport
    from rayci.running.timesheet import Timesheet


class CompositionTrial(tune.Trainable):  # type: ignore[misc]
    """Applies a composition stage by stage; rows are on disk before a step returns.

    Give it an `Assignment` with `tune.with_parameters(CompositionTrial, assignment=…)`; the config is
    that of `rayci.trials.trial_config`. The model stays loaded when Tune reuses the actor. A stage
    that other trials wait for takes two steps: its weights are stored, then it is measured.

    The model loads in the first step, not in `setup`: Tune gives a pending trial to the first
    actor that is free and kills the one that was starting for it, so with short trials an actor
    that took seconds to start would never come up, and one worker would do all the work.
    """

    _runner: Runner | None = None
    _reports: Iterator[StageReport] | None = None
    _left = 0
    _fault: Exception | None = None

    def setup(self, config: dict[str, Any], assignment: Assignment | None = None) -> None:
        """Remember the assignment, and count time from here on; called by Tune when the actor starts."""
        from rayci.running.timesheet import Timesheet

        assert assignment is not None, "tune.with_parameters(CompositionTrial, assignment=…)"
        self._assignment, self._sheet = assignment, Timesheet()

    def _start(self) -> Iterator[StageReport]:
        config = self.config
        if self._runner is None:
            self._runner = _load(self._assignment, config["resources"]["GPU"], self._sheet)
        trial = self._runner.sweep.planner.trial(config["composition"], config["replicate"], config["seed"])
        self._left = max(1, len(trial.stages) - config["first"])
        return self._runner.run(trial, config["owners"], config["keep"], config["first"], no_more=config["no_more"])

    def step(self) -> dict[str, Any]:
        """Do the next stage, or half of one, and say what happened.

        After an error that is no method's and no criterion's, the step before has told of it: Tune then
        ends this worker, and tries the trial on another.
        """
        if self._fault is not None:
            raise self._fault
        try:
            if self._reports is None:
                self._reports = self._start()
            report = next(self._reports)
        except OutOfMemory as error:
            return {"out_of_memory": str(error), "worker": os.getpid(), "done": True}
        except StorageError as error:
            return {"storage_error": str(error), "worker": os.getpid(), "done": True}
        except Exception as error:  # the model, the tokenizer or the data on this node; a fault of ours
            return self._tell(error)
        self._left -= report.complete
        return {
            "stage": report.stage.fingerprint,
            "depth": report.stage.depth,
            "at_hand": report.at_hand,
            "complete": report.complete,
            "applied": report.applied,
            "measured": report.measured,
            "failure": report.failure,
            "notes": list(report.notes),
            "criteria": dict(report.values),
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
            "worker": os.getpid(),
            "done": self._left == 0,
        }

    def _tell(self, error: Exception) -> dict[str, Any]:
        from rayci.running.out_of_memory import ran_out
        from rayci.running.reasons import reason_of, traceback_of

        starting = self._reports is None
        if starting and ran_out(error) and self.config["no_more"] is None:
            return {"out_of_memory": f"the model: {reason_of(error)}", "worker": os.getpid(), "done": True}
        self._fault = error
        return {
            "fault": reason_of(error),
            "traceback": traceback_of(error),
            "starting": starting,
            "refused": isinstance(error, RequestError),
            "host": socket.gethostname(),
            "worker": os.getpid(),
        }

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial in the same process, the model loaded."""
        self._reports = None
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """A pointer: what is done lies in the stage store and the table."""
        return {"trial": self.config["trial"]}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing to load: a restarted trial finds its stages in the store."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """CPUs and GPUs of one trial, from its config."""
        return tune.PlacementGroupFactory([{key: value for key, value in config["resources"].items() if value}])


def _load(assignment: Assignment, gpus: float, sheet: Timesheet) -> Runner:
    from rayci.running.timesheet import Activity

    with sheet.on(Activity.LOAD):
        import torch
        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        torch.set_num_threads(assignment.spec.resources.threads)
        # What the trial reserved decides, not what the machine has: a trial without a GPU must not take one.
        return assignment.runner(gpus, sheet)
