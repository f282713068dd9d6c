"""Hours, money and where they come from."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rayci.commands import cli
from rayci.commands.plan_view import foresee, readable
from rayci.errors import CorruptionError, RequestError
from rayci.forecast import stage_times
from rayci.forecast.estimator import Estimator
from rayci.forecast.stage_times import Times
from rayci.forecast.timing import SHIPPED, known_times
from rayci.planning import spec as specs
from rayci.planning.plan import Names, Planner
from rayci.planning.spec import Spec
from rayci.planning.yaml_source import parse
from rayci.table import from_rows, write_part
from rayci.units import hours, size
from tests.analysis.synthetic_table import SCALES, row

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
SHIPPED_SOURCE = stage_times.of_file(SHIPPED, 689_280, "cpu").source


def planner(**changes: Any) -> Planner:
    base: dict[str, Any] = {
        "name": "t",
        "interventions": {"ft": {}},
        "criteria": ["edit_success", "mmlu"],
        "compose": {"singles": False, "also": ALSO},
    }
    spec = Spec.model_validate({**base, **changes})
    return Planner(spec, Names(spec))


def known(**given: Any) -> Any:
    return lambda parameters, device: [Times("here", **given)]


def test_hours_by_hand() -> None:
    times = known(steps={"ft": 10.0, "rtn": 4.0}, readings={"edit_success": 3.0, "mmlu": 1.0})
    made = planner(replicates=2, resources={"cpus": 2, "gpus": 0.5, "gpu_hour_price": 3.0})
    found = Estimator(made, times).of(made.plan())
    # ft and rtn for each batch, each measured twice; stage 0 has mmlu once and edit_success twice.
    seconds = 2 * (10 + 4) + 4 * (3 + 1) + (2 * 3 + 1)
    assert found.gpu_hours == pytest.approx(seconds * 0.5 / 3600)
    assert found.cpu_hours == pytest.approx(seconds * 2 / 3600)
    assert found.cost == pytest.approx(3.0 * seconds * 0.5 / 3600)
    assert Estimator(made, times).of(made.plan(), price=1.0).cost == pytest.approx(seconds * 0.5 / 3600)
    assert found.notes == ("times of ft, rtn, edit_success, mmlu: here",)


def test_without_gpus_there_are_no_gpu_hours_and_no_cost() -> None:
    made = planner()
    found = Estimator(made, known()).of(made.plan())
    assert (found.gpu_hours, found.cost) == (0.0, 0.0)
    assert found.cpu_hours is not None and found.cpu_hours > 0


@pytest.mark.parametrize("given", ["-1", "many", "true", ".inf", "[1]"])
def test_gpus_are_a_number_or_auto(given: str) -> None:
    text = f"interventions: {{ft: {{}}}}\ncriteria: [mmlu]\nresources: {{gpus: {given}}}\n"
    with pytest.raises(RequestError, match="a number from 0, or auto") as error:
        specs.from_source(parse(text, "s.yaml"))
    assert "s.yaml:3" in str(error.value)


def test_without_a_price_there_is_no_cost() -> None:
    made = planner(resources={"gpus": "auto"})
    found = Estimator(made, known()).of(made.plan())
    assert found.gpu_hours and found.cost is None
    assert any("price" in note for note in found.notes)


def test_an_estimate_never_passes_for_a_measurement() -> None:
    made = planner(resources={"gpus": 1})
    found = Estimator(made, known(steps={"ft": 10.0})).of(made.plan())
    assert found.notes[0] == "times of ft: here"
    assert "rtn, edit_success, mmlu" in found.notes[1] and "estimated from operations" in found.notes[1]


def test_a_model_of_unknown_size_has_no_estimates() -> None:
    made = planner(model="someone/model", resources={"gpus": 1})
    found = Estimator(made, known()).of(made.plan())
    assert (found.disk_bytes, found.gpu_hours, found.cost, found.memory_bytes) == (None, None, None, None)
    assert "size of someone/model is not known" in found.notes[0]
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
    times = known(steps={"ft": 10.0, "rtn": 4.0}, readings={"edit_success": 3.0, "mmlu": 1.0})
    seconds = Estimator(made, times).stage_seconds(plan)
    assert {stage.chain: seconds(stage) for stage in plan.stages.values()} == {"": 4.0, "ft": 14.0, "ft > rtn@4": 8.0}


def _run(folder: Path, device: str = "cpu") -> Path:
    timed = {"model": "testbed", "device": device}
    rows = [
        row("", "mmlu", 1.0, measure_seconds=2.0, peak_memory_bytes=8, **timed),
        row("", "wmdp", 1.0, measure_seconds=None, peak_memory_bytes=5, **timed),
        *(
            row("ft", "mmlu", 1.0, k, apply_seconds=s, measure_seconds=s, peak_memory_bytes=20 + k, **timed)
            for k, s in enumerate((5.0, 7.0, 60.0))
        ),
        *(  # the most of applying and measuring: 20 and more are mmlu's, 10 and more are ft's
            row("ft", "wmdp", 1.0, k, apply_seconds=s, measure_seconds=None, peak_memory_bytes=10 + k, **timed)
            for k, s in enumerate((5.0, 7.0, 60.0))
        ),
        row("rtn@4", "mmlu", 1.0, apply_seconds=0.0, measure_seconds=7.0, **timed),  # out of the store
        row("wanda@0.5 > ft > refit(wanda@0.5)", "mmlu", 1.0, 0, apply_seconds=3.0, measure_seconds=None, **timed),
        row(
            "wanda@0.5 > ft > reproject(wanda@0.5)",
            "mmlu",
            1.0,
            0,
            apply_seconds=1.0,
            measure_seconds=None,
            peak_memory_bytes=9,
            **timed,
        ),
    ]
    assert len(from_rows(rows, SCALES)) == len(rows)
    write_part(rows, SCALES, folder / "table" / "part.parquet")
    return folder


def test_times_of_a_run_are_medians_over_its_stages(tmp_path: Path) -> None:
    found = stage_times.of_run(_run(tmp_path), "testbed", "cpu")
    assert found.steps == {"ft": 7.0, "wanda": 3.0, "reproject(wanda)": 1.0}
    assert found.readings == {"mmlu": 7.0}
    assert found.peaks == {"mmlu": 8, "wmdp": 5, "ft": 12, "reproject(wanda)": 9}
    assert found.source == f"measured on {tmp_path}"
    assert stage_times.of_run(tmp_path, "testbed", "cuda").steps == {}
    assert stage_times.of_run(tmp_path, "other", "cpu").steps == {}


def test_a_run_wins_over_the_shipped_table(tmp_path: Path) -> None:
    made = planner()
    found = foresee(made, made.plan(), times=str(_run(tmp_path)))
    assert found["notes"][0] == f"times of ft, mmlu: measured on {tmp_path}"
    assert found["notes"][1] == f"times of rtn, edit_success: {SHIPPED_SOURCE}"


def test_a_run_that_says_nothing_of_the_model(tmp_path: Path) -> None:
    made = planner()
    with pytest.raises(RequestError, match="no result table"):
        foresee(made, made.plan(), times=str(tmp_path))
    with pytest.raises(RequestError, match="no times of testbed"):
        foresee(made, made.plan(), times=str(_run(tmp_path, "cuda")))


def test_a_damaged_run_is_passed_over_unless_it_was_asked_for(tmp_path: Path) -> None:
    part = _run(tmp_path) / "table" / "part.parquet"
    part.write_bytes(part.read_bytes()[:100])
    assert [times.source for times in known_times("testbed", tmp_path)(689_280, "cpu")] == [SHIPPED_SOURCE]
    with pytest.raises(CorruptionError, match=r"part\.parquet"):
        known_times("testbed", tmp_path, strict=True)(689_280, "cpu")


def test_the_shipped_table() -> None:
    found = stage_times.of_file(SHIPPED, 689_280, "cpu")
    assert len(found.steps) == 20 and len(found.readings) == 12
    assert all(value >= 0 for value in (*found.steps.values(), *found.readings.values()))
    assert "measured" in found.source
    assert stage_times.of_file(SHIPPED, 8_000_000_000, "cpu").steps == {}  # another model's times are not used


def test_a_damaged_table_of_times(tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    path.write_text("parameters,device\n1,cpu\n")
    with pytest.raises(RequestError, match="not a table of stage times"):
        stage_times.of_file(path, 1, "cpu")


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = tmp_path / "s.yaml"
    spec.write_text("interventions: {ft: {}, rtn: {bits: 4}}\ncriteria: [mmlu]\nreplicates: 2\nresources: {gpus: 1}\n")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["rayci", "plan", str(spec), *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code
        return capsys.readouterr().out

    found = json.loads(call("--format", "json", "--price", "2"))
    assert set(found) >= KEYS
    assert found["cost"] == pytest.approx(2 * found["gpu_hours"])
    assert found["disk_bytes"] > 0  # rtn is kept for the second batch
    assert call("--format", "csv").count("\n") == 2
    assert "MiB" in call() and "not known" in call()


def test_units() -> None:
    assert [size(value) for value in (0, 1023, 1536, 2**30, 1023 * 2**30)] == [
        "0 B", "1023 B", "1.5 KiB", "1 GiB", "1023 GiB",
    ]  # fmt: skip
    assert [hours(value) for value in (0, 0.01, 0.5, 12.34, 1234.5)] == ["0 h", "36 s", "30 min", "12.3 h", "1,234 h"]
