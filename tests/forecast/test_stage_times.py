"""Measured times: medians of an earlier run, and the table that ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayci import registry
from rayci.commands.plan_view import foresee
from rayci.errors import CorruptionError, RequestError
from rayci.forecast import stage_times
from rayci.forecast.stage_times import SHIPPED, known_times
from rayci.table import from_rows, write_part
from tests.analysis.synthetic_table import SCALES, row
from tests.forecast.test_estimator import planner

SHIPPED_SOURCE = stage_times.of_file(SHIPPED, 689_280, "cpu").source


def _run(folder: Path, device: str = "cpu") -> Path:
    timed = {"model": "testbed", "device": device}
    rows = [
        row("", "utility", 1.0, measure_seconds=2.0, peak_memory_bytes=8, **timed),
        row("", "hazard", 1.0, measure_seconds=None, peak_memory_bytes=5, **timed),
        *(
            row("ft", "utility", 1.0, k, apply_seconds=s, measure_seconds=s, peak_memory_bytes=20 + k, **timed)
            for k, s in enumerate((5.0, 7.0, 60.0))
        ),
        *(  # the most of applying and measuring: 20 and more are utility's, 10 and more are ft's
            row("ft", "hazard", 1.0, k, apply_seconds=s, measure_seconds=None, peak_memory_bytes=10 + k, **timed)
            for k, s in enumerate((5.0, 7.0, 60.0))
        ),
        row("rtn@4", "utility", 1.0, apply_seconds=0.0, measure_seconds=7.0, **timed),  # out of the store
        *(row("rtn@4", "utility", 1.0, k, apply_seconds=0.0, measure_seconds=0.0, **timed) for k in range(9)),
        row("wanda@0.5 > ft > refit(wanda@0.5)", "utility", 1.0, 0, apply_seconds=3.0, measure_seconds=None, **timed),
        row(
            "wanda@0.5 > ft > reproject(wanda@0.5)",
            "utility",
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


def test_times_of_a_run_are_means_over_its_stages(tmp_path: Path) -> None:
    times = stage_times.of_run(_run(tmp_path), "testbed", "cpu")
    assert times.steps == {"ft": 24.0, "wanda": 3.0, "reproject(wanda)": 1.0}
    assert times.readings == {"utility": (2 + 5 + 7 + 60 + 7) / 5}
    assert times.peaks == {"utility": 8, "hazard": 5, "ft": 12, "reproject(wanda)": 9}
    assert times.source == f"measured on {tmp_path}"
    assert stage_times.of_run(tmp_path, "testbed", "cuda").steps == {}
    assert stage_times.of_run(tmp_path, "other", "cpu").steps == {}


def test_a_run_wins_over_the_shipped_table(tmp_path: Path) -> None:
    made = planner()
    plan = foresee(made, made.plan(), times=str(_run(tmp_path)))
    assert plan["notes"][0] == f"times of ft, utility: measured on {tmp_path}"
    assert plan["notes"][1].startswith(f"times of rtn, edit_success: {SHIPPED_SOURCE}, brought to ")


def test_a_run_that_says_nothing_of_the_model(tmp_path: Path) -> None:
    made = planner()
    with pytest.raises(RequestError, match="no result table"):
        foresee(made, made.plan(), times=str(tmp_path))
    with pytest.raises(RequestError, match="no times of testbed"):
        foresee(made, made.plan(), times=str(_run(tmp_path, "cuda")))


def test_a_damaged_run_is_passed_over_unless_it_was_asked_for(tmp_path: Path) -> None:
    part = _run(tmp_path) / "table" / "part.parquet"
    part.write_bytes(part.read_bytes()[:100])
    assert [each.source for each in known_times("testbed", tmp_path)(689_280, "cpu")] == [SHIPPED_SOURCE]
    with pytest.raises(CorruptionError, match=r"part\.parquet"):
        known_times("testbed", tmp_path, strict=True)(689_280, "cpu")


def test_the_shipped_table() -> None:
    times = stage_times.of_file(SHIPPED, 689_280, "cpu")
    assert times.steps.keys() == registry.INTERVENTIONS.keys()  # no plan on the testbed has to estimate one
    assert len(times.readings) == 27
    assert all(value >= 0 for value in (*times.steps.values(), *times.readings.values()))
    assert "measured" in times.source
    assert stage_times.of_file(SHIPPED, 8_000_000_000, "cpu").steps == {}  # another model's times are not used


def test_a_damaged_table_of_times(tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    path.write_text("parameters,device\n1,cpu\n")
    with pytest.raises(RequestError, match="not a table of stage times"):
        stage_times.of_file(path, 1, "cpu")
