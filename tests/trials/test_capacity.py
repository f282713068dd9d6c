"""A reservation that no node can give is refused or skipped, with composition, need and remedy; Ray would wait."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from rayci import table
from rayci.errors import RequestError
from rayci.model import loading
from rayci.planning import spec as specs
from rayci.planning.faults import Blame
from rayci.planning.plan import Plan, make
from rayci.planning.resources import Resources
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.trials import launch, machine
from rayci.trials.capacity import Capacity, Place
from rayci.trials.placement import refuse_beyond_limit, unplaceable
from rayci.trials.reservations import Reservations

from .test_damaged_runs import run_here

SPEC = Spec.model_validate({"name": "t", "interventions": {"ft": {}, "rtn": {"bits": 4}}, "criteria": ["hazard"]})
SKIPPING = SPEC.model_copy(update={"resources": Resources(unplaceable="skip")})
SMALL = Place("node 10.0.0.1", {"CPU": 8, "GPU": 1, "memory": 1e9})
OTHER = Place("node 10.0.0.2", {"CPU": 1, "GPU": 1})
LARGE = Place("a node of type a100", {"CPU": 96, "GPU": 6})


@pytest.fixture
def plan() -> Plan:
    return make(SPEC)


def test_one_node_must_hold_a_whole_trial(plan: Plan) -> None:
    trials, both = range(len(plan.trials)), Capacity([SMALL], [LARGE])
    assert not unplaceable(plan, trials, Reservations(2, [0.5] * len(trials), 1), Capacity([SMALL]), Blame(None))
    two = Reservations(2, [1, 2, *[1] * len(trials)], 8)
    assert not unplaceable(plan, trials, two, both, Blame(None))
    assert not unplaceable(plan, [0], two, Capacity([SMALL]), Blame(None))  # the trial that is too large is done
    assert not unplaceable(plan, trials, two, Capacity([SMALL], None), Blame(None))  # what can be started is not known
    with pytest.raises(RequestError) as error:
        unplaceable(plan, trials, two, Capacity([SMALL, OTHER]), Blame(None))
    assert f"{plan.trials[1].composition!r} reserves 2 CPU, 2 GPU" in error.value.problem
    assert error.value.at == "resources.gpus" and "unplaceable: skip" in str(error.value.hint)
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
    large = Place("b", {"CPU": 1, "GPU": 1, "memory": 2.0**30})
    assert not unplaceable(plan, [0], reservations, Capacity([SMALL, large]), Blame(None))
    with pytest.raises(RequestError, match=r"reserves 1 CPU, 0\.5 GPU, 1 GiB of memory, which no node") as error:
        unplaceable(plan, [0], reservations, Capacity([SMALL, LARGE]), Blame(None))
    assert error.value.at == "resources.memory"
    assert "node 10.0.0.1 has 8 CPU, 1 GPU, 0.9313 GiB of memory" in str(error.value.allowed)


def test_where_the_spec_says_so_they_are_skipped(plan: Plan) -> None:
    reservations = Reservations(2, [1, 2, *[1] * len(plan.trials)], 8)
    skipping = Plan(SKIPPING, plan.trials)
    skipped = unplaceable(skipping, range(len(plan.trials)), reservations, Capacity([OTHER, SMALL]), Blame(None))
    assert skipped == {
        1: "no node can hold this trial: it reserves 2 CPU, 2 GPU, and node 10.0.0.2 is the largest with 1 CPU, 1 GPU"
    }
    assert "there is none" in unplaceable(skipping, [0], reservations, Capacity([]), Blame(None))[0]


@pytest.mark.parametrize(("places", "largest"), [(Capacity([SMALL], [LARGE]), 6), (Capacity([SMALL], None), 4)])
def test_nothing_grows_beyond_the_largest_node(plan: Plan, places: Capacity, largest: float) -> None:
    reservations = Reservations(1, [1, 4, *[1] * len(plan.trials)])
    unplaceable(plan, [0], reservations, places, Blame(None))
    while reservations.no_more(0) is None:
        reservations.enlarge(0)
    assert reservations.gpus(0) == largest and reservations.no_more(0) == "no node has more"


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


def test_a_launch_that_skips_leaves_rows_with_the_reason_and_tries_again(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "interventions: {rtn: {bits: 4}}\ncriteria: [avg_bits]\nresources: {cpus: 4096, unplaceable: skip}\n"
    )
    for _ in range(2):  # what was skipped is asked for again, and a larger machine would compute it
        run = launch(tmp_path / "s.yaml", out=tmp_path / "run")
        assert run.complete and run.counts["skipped"] == 1 and run.counts["done"] == 0
        frame = table.read(tmp_path / "run").frame
        assert list(frame["chain"]) == ["", "rtn@4"] and set(frame["status"]) == {"skipped"}
        assert frame["reason"].str.startswith("no node can hold this trial: it reserves 4096 CPU, 0 GPU").all()
    sweep = Sweep.open(specs.load(tmp_path / "s.yaml"))
    run_here(sweep, loading.load(sweep.folder), tmp_path / "run")
    assert set(table.read(tmp_path / "run").frame["status"]) == {"ok"}


def test_gpus_to_try_out_how_trials_pack() -> None:
    reservations = Reservations(1, [0.5, 0.25])
    assert machine.gpus(Resources(gpus=0.5, device="cpu"), reservations, 3) == 2
    assert machine.gpus(Resources(gpus="auto", device="cpu", max_gpus=8), Reservations(1, [0.125]), 1) == 8
    assert machine.gpus(Resources(gpus="auto", device="cpu"), Reservations(1, [0.125]), 1) == 1
    assert machine.gpus(Resources(device="cpu"), reservations, 3) == 0
    assert machine.gpus(Resources(gpus=1), reservations, 3) == torch.cuda.device_count()
