"""Hours, money and where they come from."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rayci import registry
from rayci.commands import cli
from rayci.commands.plan_view import foresee, readable
from rayci.effort import Effort
from rayci.errors import RequestError
from rayci.forecast.estimator import Estimator
from rayci.forecast.probe import A100
from rayci.forecast.rates import save
from rayci.forecast.stage_times import Times
from rayci.model.shapes import sketch
from rayci.planning import spec as specs
from rayci.planning.plan import Names, Planner
from rayci.planning.spec import Spec
from rayci.planning.yaml_source import parse
from rayci.units import hours, size
from rayci.workload import Workload
from tests.forecast.test_rates import HERE

KEYS = {
    "compositions",
    "trials",
    "stages_asked",
    "stages_computed",
    "evaluations_asked",
    "evaluations_computed",
    "disk_bytes",
    "gpu_hours",
    "gpu_hours_by_kind",
    "largest_trial_gpus",
    "probe",
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
    by_kind = {"ft": 20, "edit_success": 3 * (4 + 2), "rtn": 8, "utility": 4 + 1}
    assert estimate.gpu_hours_by_kind == pytest.approx({name: 0.5 * value / 3600 for name, value in by_kind.items()})
    assert list(estimate.gpu_hours_by_kind) == list(by_kind)  # the most first
    assert estimate.cpu_hours_by_kind == pytest.approx({name: 2 * value / 3600 for name, value in by_kind.items()})
    assert estimate.largest_trial_gpus == 0.5


def test_a_gpu_that_trials_share_is_sliced_in_time() -> None:
    alone, shared = (planner(resources={"gpus": gpus}) for gpus in (1, 0.5))
    one, half = (Estimator(made, lambda parameters, device: []).of(made.plan()) for made in (alone, shared))
    assert one.gpu_hours and half.gpu_hours and one.cpu_hours and half.cpu_hours
    work = Workload(sketch("testbed").subject)
    calls = Effort.of(registry.criterion("utility")().operations(work)).blocks * A100.block_seconds / 3600
    taken = one.gpu_hours_by_kind["utility"], half.gpu_hours_by_kind["utility"]  # type: ignore[index]
    # What keeps the GPU busy takes twice as long on half of it, what calls take does not.
    assert taken[1] == pytest.approx(taken[0] - 0.5 * 3 * calls)
    assert one.cpu_hours < half.cpu_hours


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
    (row,) = csv.DictReader(io.StringIO(call("--format", "csv")))
    assert json.loads(row["gpu_hours_by_kind"]) == plan["gpu_hours_by_kind"] != {}
    assert "MiB" in call() and "not known" in call()


def test_a_probe_of_this_machine_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = planner()
    run = tmp_path / "runs" / "t"
    assert foresee(made, made.plan(), run=run)["probe"] is None
    plan = foresee(made, made.plan(), run=run, probe=True)
    assert plan["probe"]["place"] == "this machine" and plan["probe"]["fp32"] > 0
    assert all("(this machine)" in note for note in plan["notes"])
    assert readable(plan)["probe"].endswith("this machine") and not {"gpu time", "gpu time of"} & readable(plan).keys()
    assert not run.exists() and list(tmp_path.iterdir()) == []
    save([HERE], run)
    assert foresee(made, made.plan(), run=run)["probe"]["place"] == f"the nodes of {run}"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    on_gpus = planner(resources={"gpus": 1})
    with pytest.raises(RequestError, match="this machine has none to measure"):
        foresee(on_gpus, on_gpus.plan(), run=run, probe=True)


def test_more_workers_hold_more_at_a_time() -> None:
    made = planner(compose={"singles": False, "also": ["wanda@0.5 > ft", "wanda@0.5 > gd", "rtn@4 > ft", "rtn@4 > gd"]})
    slow = known(steps={"gd": 1000.0, "ft": 1.0, "wanda": 1.0, "rtn": 1.0}, readings={"edit_success": 0, "utility": 0})
    few, many = (Estimator(made, slow).of(made.plan(), workers=workers).disk_keeping_none_bytes for workers in (1, 4))
    assert few is not None and many is not None and 0 < few <= many


def test_units() -> None:
    assert [size(value) for value in (0, 1023, 1536, 2**30, 1023 * 2**30)] == [
        "0 B", "1023 B", "1.5 KiB", "1 GiB", "1023 GiB",
    ]  # fmt: skip
    assert [hours(value) for value in (0, 0.01, 0.5, 12.34, 1234.5)] == ["0 h", "36 s", "30 min", "12.3 h", "1,234 h"]
