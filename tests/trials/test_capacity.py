"""A reservation that no node can give is refused, with composition, need and remedy; Ray would wait for ever."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from rayci.errors import RequestError
from rayci.planning.faults import Blame
from rayci.planning.plan import Plan, make
from rayci.planning.resources import Resources
from rayci.planning.spec import Spec
from rayci.trials import launch, machine
from rayci.trials.capacity import Place, refuse_beyond_limit, refuse_too_large
from rayci.trials.reservations import Reservations

SPEC = Spec.model_validate({"name": "t", "interventions": {"ft": {}, "rtn": {"bits": 4}}, "criteria": ["hazard"]})
SMALL = Place("node 10.0.0.1", {"CPU": 8, "GPU": 1, "memory": 1e9})
LARGE = Place("a node of type a100", {"CPU": 96, "GPU": 6})


@pytest.fixture
def plan() -> Plan:
    return make(SPEC)


def test_one_node_must_hold_a_whole_trial(plan: Plan) -> None:
    trials = range(len(plan.trials))
    refuse_too_large(plan, trials, Reservations(2, [0.5] * len(trials), 1), [SMALL], Blame(None))
    two = Reservations(2, [1, 2, *[1] * len(trials)], 8)
    refuse_too_large(plan, trials, two, [SMALL, LARGE], Blame(None))
    refuse_too_large(plan, [0], two, [SMALL], Blame(None))  # the trial that is too large is done
    with pytest.raises(RequestError) as error:
        refuse_too_large(plan, trials, two, [SMALL, Place("node 10.0.0.2", {"CPU": 1, "GPU": 1})], Blame(None))
    assert f"{plan.trials[1].composition!r} reserves 2 CPU, 2 GPU" in error.value.problem
    assert error.value.at == "resources.gpus" and error.value.hint
    assert "node 10.0.0.1 has 8 CPU, 1 GPU" in str(error.value.allowed)


def test_a_trial_beyond_the_limit_of_gpus(plan: Plan) -> None:
    reservations = Reservations(1, [0.5, 2, *[0.5] * len(plan.trials)], 8)
    refuse_beyond_limit(plan, [0, 1], reservations, None)
    with pytest.raises(RequestError, match=re.escape(f"{plan.trials[1].composition!r} reserves 2 GPU")) as error:
        refuse_beyond_limit(plan, [0, 1], reservations, 1)
    assert error.value.at == "--gpu-limit" and error.value.allowed == "2 or more"
    assert reservations.most == 8
    refuse_beyond_limit(plan, [0], reservations, 1)
    assert reservations.most == 1


def test_memory_that_no_node_has(plan: Plan) -> None:
    reservations = Reservations(1, [0.5] * len(plan.trials), 1, memory=2**30)
    refuse_too_large(plan, [0], reservations, [SMALL, Place("b", {"CPU": 1, "GPU": 1, "memory": 2.0**30})], Blame(None))
    with pytest.raises(RequestError, match=r"reserves 1 CPU, 0\.5 GPU, 1 GiB of memory, which no node") as error:
        refuse_too_large(plan, [0], reservations, [SMALL, LARGE], Blame(None))
    assert error.value.at == "resources.memory"
    assert "node 10.0.0.1 has 8 CPU, 1 GPU, 0.9313 GiB of memory" in str(error.value.allowed)


def test_nothing_grows_beyond_the_largest_node(plan: Plan) -> None:
    reservations = Reservations(1, [4] * len(plan.trials), 8)
    refuse_too_large(plan, [0], reservations, [SMALL, LARGE], Blame(None))
    assert not reservations.last(0)
    reservations.enlarge(0)
    assert reservations.gpus(0) == 6 and reservations.last(0)


@pytest.mark.parametrize(
    ("resources", "key"),
    [
        ("{gpus: 4096}", "gpus"),
        ("{cpus: 4096}", "cpus"),
        ("{cpus: 4096, device: cpu}", "cpus"),
        ("{memory: 4096}", "memory"),
    ],
)
def test_a_launch_is_refused_before_anything_is_written(resources: str, key: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        f"interventions: {{rtn: {{bits: 4}}}}\ncriteria: [avg_bits]\nresources: {resources}\n"
    )
    with pytest.raises(RequestError, match=r"'rtn.*' reserves .*4096 .*no node can give") as error:
        launch(tmp_path / "s.yaml", out=tmp_path / "run")
    assert error.value.at == f"{tmp_path / 's.yaml'}:3: resources.{key}"
    assert "this machine has" in str(error.value.allowed)
    assert list(tmp_path.iterdir()) == [tmp_path / "s.yaml"]


def test_gpus_to_try_out_how_trials_pack() -> None:
    reservations = Reservations(1, [0.5, 0.25], 1)
    assert machine.gpus(Resources(gpus=0.5, device="cpu"), reservations, 3) == 2
    assert machine.gpus(Resources(gpus="auto", device="cpu"), Reservations(1, [0.125], 8), 1) == 8
    assert machine.gpus(Resources(device="cpu"), reservations, 3) == 0
    assert machine.gpus(Resources(gpus=1), reservations, 3) == torch.cuda.device_count()
