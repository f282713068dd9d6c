"""Callbacks are told of every stage, failure and trial; what they raise is a note and stops nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rayci import table
from rayci.planning import plan as plans
from rayci.planning import spec as specs
from rayci.planning.plan import Plan, Stage, Trial
from rayci.trials import Callback
from rayci.trials.telling import Telling

from .conftest import Told


def test_a_run_tells_of_every_stage_and_trial(undisturbed: Path, told: Told) -> None:
    rows = table.read(undisturbed).frame
    assert {stage.fingerprint for _, stage, _ in told.stages} == set(rows.stage_fingerprint)
    assert len(told.trials) == len({trial.id for trial in told.trials}) == 10
    alone = rows[(rows.chain == "rtn@4") & rows.replicate.isna()].set_index("criterion").value
    values = next(values for _, stage, values in told.stages if stage.chain == "rtn@4" and values)
    assert values["hazard"] == alone["hazard"]


def test_what_a_callback_raises_is_one_note(undisturbed: Path, told: Told) -> None:
    assert told.notes == ("Told.trial_done raised ValueError: not today; the sweep went on",)


class Failures(Callback):
    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.trials: list[str] = []

    def stage_failed(self, trial: Trial, stage: Stage, reason: str) -> None:
        self.told.append((trial.composition, stage.chain, reason))

    def trial_done(self, trial: Trial) -> None:
        self.trials.append(trial.composition)


def a_plan() -> Plan:
    spec = {"name": "two", "interventions": {"ft": {}, "rtn": {"bits": 4}}, "criteria": ["utility"]}
    return plans.make(specs.Spec.model_validate(spec))


def a_result(trial: Trial, depth: int, **fields: Any) -> dict[str, Any]:
    last = depth == len(trial.stages) - 1
    told = {"stage": trial.stages[depth].fingerprint, "complete": True, "failure": None, "criteria": {}, "done": last}
    return told | fields


def test_failures_and_lost_trials_end_in_a_reason() -> None:
    plan, failures = a_plan(), Failures()
    telling = Telling(plan, [failures])
    trial = next(trial for trial in plan.trials if trial.composition == "ft > rtn@4")
    reported: Any = SimpleNamespace(config={"trial": trial.id})
    telling.on_trial_result(0, [], reported, a_result(trial, 1, complete=False))
    telling.on_trial_result(0, [], reported, a_result(trial, 1))
    assert (failures.told, failures.trials) == ([], [])
    telling.on_trial_result(0, [], reported, a_result(trial, 2, failure="no room"))
    assert (failures.told, failures.trials) == ([("ft > rtn@4", "ft > rtn@4", "no room")], ["ft > rtn@4"])
    telling.lost(trial.stages[2].fingerprint, "died twice")
    assert failures.told[-1] == ("ft > rtn@4", "ft > rtn@4", "died twice")
    telling.on_trial_result(0, [], reported, {"fault": "a worker ended"})
    assert len(failures.told) == 2
