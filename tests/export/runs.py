"""A small run on the testbed, as a worker leaves it, without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rayci.model import loading
from rayci.planning.plan import Plan, Trial
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.running.runner import Runner
from rayci.trials.run_folder import RunFolder

SPEC: dict[str, Any] = {
    "name": "small",
    "replicates": 2,
    "edit_batch": 4,
    "interventions": {"ft": {"steps": 2}, "magnitude": {"sparsity": 0.5}, "rtn": {"bits": {"sweep": [3, 4]}}},
    "criteria": ["sparsity", "avg_bits"],
}
CHAIN = "ft > rtn@4"


def sweep() -> Sweep:
    """The sweep of the run, opened anew."""
    return Sweep.open(Spec.model_validate(SPEC))


def trial(opened: Sweep) -> Trial:
    """The trial that was run: `CHAIN` on edit batch 1."""
    return opened.planner.trial(CHAIN, 1, 0)


def make(root: Path) -> None:
    """Run the trial; the stage after its first step stays in the store."""
    opened = sweep()
    plan, one = opened.planner.plan(), trial(opened)
    folder = RunFolder(root)
    folder.describe(opened, plan, Plan(plan.spec, (one,)))
    runner = Runner(opened, loading.load(opened.folder), folder.open_store(), root)
    reports = list(runner.run(one, [one.id] * 3, [False, True, False]))
    assert not any(report.failure for report in reports)
