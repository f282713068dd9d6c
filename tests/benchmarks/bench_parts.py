"""A finished run's parts against the one file that they are brought into: seconds to read, room on the disk.

    OMP_NUM_THREADS=1 pytest tests/benchmarks/bench_parts.py -m bench --capture=no

`RAYCI_BENCH_PARTS` stages (default 11 060, those of the published grid on ten batches) of every synthetic criterion
with 50 items each. The named alternative is the same folder before it is compacted; pandas' `read_parquet` of every
part, which checks nothing, stands beside it. Room is what the files' blocks take, as `du` counts it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import pytest

from rayci import item_values, table
from rayci.item_values import ItemRow, Items
from rayci.storage import compaction, sealed
from rayci.storage.digests import column_digest
from tests.analysis.synthetic_table import SCALES, row

pytestmark = pytest.mark.bench

PARTS = int(os.environ.get("RAYCI_BENCH_PARTS", "11060"))
T = TypeVar("T")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of as many parts, one a stage, with the items of each."""
    run, draw = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    for number in range(PARTS):
        stage = hashlib.sha256(f"{number}".encode()).hexdigest()
        steps = ["ft", f"wanda@{0.1 + number // 20 / PARTS * 16:g}"]
        chain, batch = " > ".join(steps[:: 1 if number % 2 else -1]), number // 2 % 10
        rows = [replace(row(chain, name, float(draw.random()), batch), stage_fingerprint=stage) for name in SCALES]
        items = [
            ItemRow(
                stage_fingerprint=stage, criterion=name, criterion_fingerprint=name, replicate=batch, seed=None,
                item="edit", items=Items(tuple(map(float, draw.random(50) < 0.5))),
            )
            for name in SCALES
        ]  # fmt: skip
        item_values.write(items, run / "items" / f"{stage}.parquet")
        table.write_part(rows, SCALES, run / "table" / f"{stage}.parquet")
    return run


def timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def megabytes(folder: Path) -> float:
    return sum(512 * path.stat().st_blocks for path in folder.iterdir()) / 1e6


def test_one_file_in_place_of_many(run: Path) -> None:
    files = compaction.files_of(run / "table")
    _, by_pandas = timed(lambda: pd.concat([pd.read_parquet(file) for file in files]))
    parts, seconds = timed(lambda: table.read(run))
    items, items_seconds = timed(lambda: parts.item_values)
    room = [megabytes(run / name) for name in ("table", "items")]

    def write_items(paths: object, path: Path) -> None:
        sealed.write(items, path)

    _, compacting = timed(lambda: compaction.compact(run / "table", table.write_joined))
    _, compacting_items = timed(lambda: compaction.compact(run / "items", write_items))
    whole, after = timed(lambda: table.read(run))
    items_whole, items_after = timed(lambda: whole.item_values)
    assert whole.arrow.equals(parts.arrow) and items is not None and items.equals(items_whole)
    print(f"\n{PARTS} parts, {len(whole)} rows; pandas reads them in {by_pandas:.1f} s", end="")
    for number, (name, before, work, now) in enumerate(
        [("table", seconds, compacting, after), ("items", items_seconds, compacting_items, items_after)]
    ):
        less = megabytes(run / name)
        print(f"\n{name}: {before:.1f} s, {room[number]:.0f} MB; compacted in {work:.1f} s:", end=" ")
        print(f"{now:.2f} s, {less:.1f} MB", end="")
        print(f"; {before / now:.0f} times as fast, {room[number] / less:.0f} times as small", end="")


def test_the_checksum_by_column_against_that_of_json(run: Path) -> None:
    rows = table.read(run).arrow
    _, by_json = timed(lambda: sealed._checksum(rows))
    _, by_column = timed(lambda: [column_digest(name, rows.column(name)) for name in rows.schema.names])
    print(f"\n{len(rows)} rows: checksum of JSON {by_json:.1f} s, by column {by_column:.2f} s, ", end="")
    print(f"{by_json / by_column:.0f} times as fast")
