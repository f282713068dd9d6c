"""Each method says what it costs: the forecast knows none by name, and says where it has to assume."""

from __future__ import annotations

from typing import Any

import pytest

from rayci import registry
from rayci.effort import Effort
from rayci.forecast.clock import seconds_of
from rayci.forecast.estimator import Estimate, Estimator
from rayci.forecast.probe import Probe
from rayci.forecast.stage_times import Times
from rayci.forecast.stated import states
from rayci.intervention import Intervention
from rayci.model.shapes import sketch
from rayci.planning.plan import Names, Planner
from rayci.planning.spec import Spec
from rayci.workload import BATCH_TOKENS, Workload
from tests.forecast.plug_ins import MEMORY, OPERATIONS, Silent, SilentCriterion
from tests.forecast.test_rates import HERE
from tests.test_layers import MODULES, own

PARAMETERS = 689_280


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plug-ins have names."""
    monkeypatch.setitem(registry.INTERVENTIONS, "stated", "tests.forecast.plug_ins:Stated")
    monkeypatch.setitem(registry.INTERVENTIONS, "silent", "tests.forecast.plug_ins:Silent")
    monkeypatch.setitem(registry.CRITERIA, "silent_criterion", "tests.forecast.plug_ins:SilentCriterion")


def estimate_of(method: str, criterion: str, *times: Times) -> Estimate:
    """On one core of the rates in `HERE`."""
    spec = Spec.model_validate({"name": "t", "interventions": {method: {}}, "criteria": [criterion]})
    planner = Planner(spec, Names(spec))
    return Estimator(planner, lambda parameters, device: times, Probe((HERE,), "here")).of(planner.plan())


@pytest.mark.usefixtures("installed")
def test_a_plug_in_is_forecast_with_what_it_states() -> None:
    estimate = estimate_of("stated", "sparsity")
    looks = 2 * seconds_of(Workload(sketch("testbed").subject).looking_operations(), HERE, 4)  # both stages' sparsity
    assert estimate.cpu_hours == pytest.approx((OPERATIONS / 2e10 + looks) / 3600)
    assert estimate.memory_bytes == 4 * PARAMETERS + MEMORY
    assert estimate.notes == ("times of stated, sparsity: estimated from operations on a CPU (here)",)


@pytest.mark.usefixtures("installed")
def test_a_plug_in_that_states_nothing_gets_defaults_and_a_note() -> None:
    work = Workload(sketch("testbed").subject)
    training, reading = Effort.of(Silent().operations(work)), Effort.of(SilentCriterion().operations(work))
    each = 4 * PARAMETERS + 2 * work.elements(work.changed_by(Silent()))  # all blocks are trained
    assert float(training) == pytest.approx(100 * PARAMETERS + each * 1000 * work.context)  # 1000 documents, once
    assert float(reading) == 2 * PARAMETERS * 14_042 * 256
    assert Silent().memory(work) == work.training_bytes(Silent().changes(work.subject), BATCH_TOKENS)
    estimate = estimate_of("silent", "silent_criterion")
    assert estimate.cpu_hours == pytest.approx(seconds_of(training + 2 * reading, HERE, 4) / 3600)
    times, memory = estimate.notes
    assert times.startswith("times of silent, silent_criterion: assumed, they state no operations")
    assert memory == "memory of silent, silent_criterion: assumed, they state none"


@pytest.mark.usefixtures("installed")
def test_what_was_measured_is_not_called_assumed() -> None:
    times = Times("here", {"silent": 1.0}, {"silent_criterion": 1.0}, {"silent": 10**9, "silent_criterion": 10**8})
    estimate = estimate_of("silent", "silent_criterion", times)
    assert estimate.notes == ("times of silent, silent_criterion: here",)
    assert estimate.memory_bytes == 10**9


@pytest.mark.parametrize("name", [*registry.INTERVENTIONS, *registry.CRITERIA])
def test_every_built_in_states_what_it_costs(name: str) -> None:
    if name in registry.CRITERIA:
        method: Any = registry.criterion(name)()
    else:
        cls = registry.intervention(name)
        method = cls.configure("testbed", cls.strength.grid[0] if cls.strength and cls.strength.grid else None)
    assert states(method, "operations") and states(method, "memory")


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("rayci.forecast")])
def test_the_forecast_knows_no_method(module: str) -> None:
    for imported in own(module):
        assert not imported.startswith(("rayci.interventions", "rayci.criteria")), f"{module} imports {imported}"


def test_what_a_subclass_states_is_its_own() -> None:
    class Child(Silent):
        def memory(self, work: Workload) -> int:
            return 1

    assert states(Child(), "memory") and not states(Child(), "operations")
    assert not states(Silent(), "memory") and Silent.memory is Intervention.memory
