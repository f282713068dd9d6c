"""What a worker spent on a stage counts once, whatever number of rows say it and whichever version wrote them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from rayci import table
from rayci.table import SECONDS, Row
from rayci.table.worker_times import times_in, utilisation, visits
from tests.test_table import ROW, SCALES
from tests.test_table_versions import OLD


def visit(day: int, **spent: Any) -> list[Row]:
    """Two rows of one visit to the stage `a`; each measured for two seconds, and of the later one nobody knows what."""
    first = replace(ROW, recorded_at=datetime(2026, 1, day, tzinfo=UTC), replicate=2 * day, **spent)
    return [first, replace(first, replicate=2 * day + 1, measure_operations=None)]


ROWS = [
    *visit(1, load_seconds=4.0, apply_seconds=3.0, idle_seconds=0.5, apply_operations=30.0, device_rate=20.0),
    *visit(2, load_seconds=1.0, apply_seconds=0.0, apply_operations=0.0, device_rate=20.0, measure_operations=10.0),
]


def sums(rows: pl.LazyFrame) -> dict[str, Any]:
    parts = [*(pl.col(name).sum() for name in SECONDS), utilisation("apply"), utilisation("measure")]
    told: dict[str, Any] = visits(rows).select(pl.len().alias("visits"), *parts).collect().to_dicts()[0]
    return told


def test_each_visit_counts_once() -> None:
    told = sums(table.from_rows(ROWS, SCALES).columns(table.TIMES))
    assert [told[name] for name in ("visits", *SECONDS)] == [2, 5.0, 3.0, 8.0, 0.0, 0.5]
    assert told["apply_utilisation"] == 30.0 / (3.0 * 20.0)
    assert told["measure_utilisation"] == 10.0 / (2.0 * 20.0), "of the reading that says what it does"


def test_a_stage_of_version_1_is_one_visit(tmp_path: Path) -> None:
    shutil.copy(OLD / "part.parquet", tmp_path)
    table.write_part(ROWS, SCALES, tmp_path / "new.parquet")
    for rows in (table.read(tmp_path).columns(table.TIMES), times_in(tmp_path)):
        told = sums(rows)
        assert [told[name] for name in ("visits", *SECONDS)] == [3, 5.0, 4.0, 12.0, 0.0, 0.5]
        assert told["apply_utilisation"] == 0.5


def test_a_row_in_two_files_of_a_folder_counts_once(tmp_path: Path) -> None:
    table.write_part(ROWS, SCALES, tmp_path / "all.parquet")
    before = sums(times_in(tmp_path))
    table.write_part(ROWS[:2], SCALES, tmp_path / "again.parquet")
    table.write_part(ROWS[:1], SCALES, tmp_path / ".half.parquet.1234")
    assert sums(times_in(tmp_path)) == before
