"""Hours, money and where they come from."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rayci.commands import cli
from rayci.commands.plan_view import foresee, readable
from rayci.errors import RequestError
from rayci.forecast.estimator import Estimator
from rayci.forecast.stage_times import Times
from rayci.planning import spec as specs
from rayci.planning.plan import Names, Planner
from rayci.planning.spec import Spec
from rayci.planning.yaml_source import parse
from rayci.units import hours, size

KEYS = {
    "compositions",
    "trials",
    "stages_asked",
    "stages_computed",
    "evaluations_asked",
    "evaluations_computed",
    "disk_bytes",
    "gpu_hours",
    "cost",
}
ALSO = ["ft", "ft > rtn@4"]


def planner(**changes: Any) -> Planner:
    base: dict[str, Any] = {
        "name": "t",
        "interventions": {"ft": {}},
        "criteria": ["edit_success", "utility"],
        "compose": {"singles": False, "also": ALSO},
    }
    spec = Spec.model_validate({**base, **changes})
    return Planner(spec, Names(spec))


def known(**given: Any) -> Any:
    return lambda parameters, device: [Times("here", **given)]


def test_hours_by_hand() -> None:
    times = known(steps={"ft": 10.0, "rtn": 4.0}, readings={"edit_success": 3.0, "utility": 1.0})
    made = planner(replicates=2, resources={"cpus": 2, "gpus": 0.5, "gpu_hour_price": 3.0})
    estimate = Estimator(made, times).of(made.plan())
    # ft and rtn for each batch, each measured twice; stage 0 has utility once and edit_success twice.
    seconds = 2 * (10 + 4) + 4 * (3 + 1) + (2 * 3 + 1)
    assert estimate.gpu_hours == pytest.approx(seconds * 0.5 / 3600)
    assert estimate.cpu_hours == pytest.approx(seconds * 2 / 3600)
    assert estimate.cost == pytest.approx(3.0 * seconds * 0.5 / 3600)
    assert Estimator(made, times).of(made.plan(), price=1.0).cost == pytest.approx(seconds * 0.5 / 3600)
    assert estimate.notes == ("times of ft, rtn, edit_success, utility: here",)


def test_without_gpus_there_are_no_gpu_hours_and_no_cost() -> None:
    made = planner()
    estimate = Estimator(made, known()).of(made.plan())
    assert (estimate.gpu_hours, estimate.cost) == (0.0, 0.0)
    assert estimate.cpu_hours is not None and estimate.cpu_hours > 0


@pytest.mark.parametrize("given", ["-1", "many", "true", ".inf", "[1]"])
def test_gpus_are_a_number_or_auto(given: str) -> None:
    text = f"interventions: {{ft: {{}}}}\ncriteria: [utility]\nresources: {{gpus: {given}}}\n"
    with pytest.raises(RequestError, match="a number from 0, or auto") as error:
        specs.from_source(parse(text, "s.yaml"))
    assert "s.yaml:3" in str(error.value)


def test_without_a_price_there_is_no_cost() -> None:
    made = planner(resources={"gpus": "auto"})
    estimate = Estimator(made, known()).of(made.plan())
    assert estimate.gpu_hours and estimate.cost is None
    assert any("price" in note for note in estimate.notes)


def test_an_estimate_never_passes_for_a_measurement() -> None:
    made = planner(resources={"gpus": 1})
    estimate = Estimator(made, known(steps={"ft": 10.0})).of(made.plan())
    assert estimate.notes[0] == "times of ft: here"
    assert "rtn, edit_success, utility" in estimate.notes[1] and "estimated from operations" in estimate.notes[1]


def test_a_model_of_unknown_size_has_no_estimates() -> None:
    made = planner(model="someone/model", resources={"gpus": 1})
    estimate = Estimator(made, known()).of(made.plan())
    assert (estimate.disk_bytes, estimate.gpu_hours, estimate.cost, estimate.memory_bytes) == (None, None, None, None)
    assert "size of someone/model is not known" in estimate.notes[0]
    assert readable(foresee(made, made.plan()))["disk"] == "not known"


def test_memory_of_one_trial_and_of_all() -> None:
    made = planner(criteria=["sparsity"])
    estimator = Estimator(made, known(peaks={"rtn": 10**9}))
    alone, both = (estimator.trial_memory(text) for text in ALSO)
    assert alone is not None and alone < 10**8 and both == 10**9  # what was measured wins
    assert estimator.memory(made.plan()) == both


def test_seconds_of_stages_for_the_schedule() -> None:
    made = planner()
    plan = made.plan()
    times = known(steps={"ft": 10.0, "rtn": 4.0}, readings={"edit_success": 3.0, "utility": 1.0})
    seconds = Estimator(made, times).stage_seconds(plan)
    assert {stage.chain: seconds(stage) for stage in plan.stages.values()} == {"": 4.0, "ft": 14.0, "ft > rtn@4": 8.0}


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = tmp_path / "s.yaml"
    spec.write_text(
        "interventions: {ft: {}, rtn: {bits: 4}}\ncriteria: [utility]\nreplicates: 2\nresources: {gpus: 1}\n"
    )
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["rayci", "plan", str(spec), *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code
        return capsys.readouterr().out

    plan = json.loads(call("--format", "json", "--price", "2"))
    assert set(plan) >= KEYS
    assert plan["cost"] == pytest.approx(2 * plan["gpu_hours"])
    assert plan["disk_keeping_all_bytes"] > plan["disk_bytes"] >= plan["disk_keeping_none_bytes"] > 0
    assert call("--format", "csv").count("\n") == 2
    assert "MiB" in call() and "not known" in call()


def test_units() -> None:
    assert [size(value) for value in (0, 1023, 1536, 2**30, 1023 * 2**30)] == [
        "0 B", "1023 B", "1.5 KiB", "1 GiB", "1023 GiB",
    ]  # fmt: skip
    assert [hours(value) for value in (0, 0.01, 0.5, 12.34, 1234.5)] == ["0 h", "36 s", "30 min", "12.3 h", "1,234 h"]
