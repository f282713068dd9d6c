"""A worker takes the driver's hashes of the model, and runs on nothing else than what the driver saw."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rayci.errors import RequestError
from rayci.forecast.rates import device_name
from rayci.planning.plan import make
from rayci.planning.resources import Resources
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.running.timesheet import Timesheet
from rayci.testbed import checkpoint
from rayci.trials.assignment import Assignment, trial_config
from rayci.trials.trainable import CompositionTrial


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    model, data = shutil.copytree(checkpoint(), tmp_path / "model"), tmp_path / "data"
    data.mkdir()
    (data / "utility.jsonl").write_text('{"question": "One", "options": [" two", " three"], "answer": 0}\n')
    spec = Spec.model_validate(
        {
            "name": "t",
            "model": str(model),
            "data": str(data),
            "interventions": {"magnitude": {"sparsity": 0.5}},
            "criteria": ["utility"],
        }
    )
    sweep = Sweep.open(spec)
    places = str(tmp_path), str(tmp_path / "store")
    return Assignment(spec, *places, hashes=sweep.hashes, content=sweep.content)


def test_a_trial_of_ones_own_tuner_reserves_what_the_spec_says(assignment: Assignment) -> None:
    resources = Resources(cpus=2, gpus=0.5, memory=1.5)
    plan = make(assignment.spec.model_copy(update={"resources": resources}))
    asked = CompositionTrial.default_resource_request(trial_config(plan, plan.trials[0]))
    assert asked.bundles == [{"CPU": 2.0, "GPU": 0.5, "memory": 1.5 * 2**30}]


def test_a_worker_does_not_hash_the_weights_again(assignment: Assignment, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise AssertionError(f"{path} is hashed")

    monkeypatch.setattr("rayci.model.folder.hash_once", refuse)
    runner = assignment.runner(0, Timesheet())
    assert runner.sweep.content == assignment.content


def test_a_worker_refuses_another_model(assignment: Assignment) -> None:
    os.truncate(Path(assignment.spec.model) / "generation_config.json", 3)
    with pytest.raises(RequestError, match=r"generation_config\.json is not the same here"):
        assignment.runner(0, Timesheet())


def test_a_worker_refuses_other_data(assignment: Assignment) -> None:
    path = Path(str(assignment.spec.data)) / "utility.jsonl"
    path.write_text(path.read_text().replace("three", "four"))
    with pytest.raises(RequestError, match="not those that the sweep was started with"):
        assignment.runner(0, Timesheet())


def test_a_worker_knows_the_rate_of_what_it_reserved(assignment: Assignment) -> None:
    own = device_name(torch.device("cpu"))
    for rates, expected in (({own: 1e9, "another": 5e9}, 3e9), ({"another": 5e9}, None), ({}, None)):
        resources = Resources(threads=3)
        given = replace(assignment, rates=rates, spec=assignment.spec.model_copy(update={"resources": resources}))
        assert given.runner(0, sheet := Timesheet()).sheet is sheet and sheet.device_rate == expected
