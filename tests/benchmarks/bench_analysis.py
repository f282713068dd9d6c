"""From a file of a million and of ten million rows to the composability table; `within=` at 40 edit batches.

    OMP_NUM_THREADS=1 .venv/bin/pytest tests/benchmarks/bench_analysis.py -m bench --capture=no

The named alternative at a million rows is what one would write with pandas: steps parsed row by row, one `apply` for
each pair and criterion (`pandas_metrics`). It has the gap's interval, but no other, no bounds, verdicts or reasons.
Each side reads the same file in a process of its own, on one thread, after a small one that takes the imports. For
`within=` it is the tests' oracle, one cell after the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy import stats

from rayci import analysis
from tests.analysis.oracle import metric_table
from tests.benchmarks.wide_table import SCALES, wide_table, write_wide_table

pytestmark = pytest.mark.bench

CODE = """
import json, resource, sys, time
from rayci import analysis
from tests.benchmarks.bench_analysis import pandas_metrics
side, path, small, result = sys.argv[1:]
metrics = pandas_metrics if side == "pandas" else lambda path: analysis.load(path).metrics()
metrics(small)
start, busy = time.perf_counter(), time.process_time()
frame = metrics(path)
seconds, busy = time.perf_counter() - start, time.process_time() - busy
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
frame.to_parquet(result)
print(json.dumps({"seconds": seconds, "busy": busy, "peak_bytes": peak}))
"""
EDITOR = "editor7"
"""The method whose pairs are compared where pandas cannot hold them all."""
METRICS = ["order_free_error", "order_sensitivity", "gap", "gap_low", "gap_high", "gap_p"]


def pandas_metrics(path: str) -> pd.DataFrame:
    """Order-free error, order sensitivity, and gap with interval and p, of every pair and criterion; areas over γ."""
    columns = ["final", "steps", "replicate", "criterion", "direction", "value"]
    frame = pd.read_parquet(path, columns=columns)
    frame = frame[frame["final"]]
    asked = frame["steps"].apply(lambda steps: [step for step in steps if step["recompression"] is None])
    frame["order"] = asked.apply(lambda steps: " > ".join(step["method"] for step in steps))
    frame["pair"] = asked.apply(lambda steps: " × ".join(sorted(step["method"] for step in steps)))
    frame["gamma"] = asked.apply(
        lambda steps: next((step["strength"] for step in steps if step["strength"] is not None), np.nan)
    )
    return frame[frame["pair"] != ""].groupby(["criterion", "pair"]).apply(_cell).reset_index()


def _cell(rows: pd.DataFrame) -> pd.Series:
    wide = rows.pivot(index=["replicate", "gamma"], columns="order", values="value").sort_index(axis=1)
    complete = wide.notna().all(axis=1).groupby("gamma").transform("all")
    wide = wide[complete]
    if rows.name[0] in ("perplexity", "wikitext_ppl"):
        wide = np.log(wide)
    curves = wide.groupby("gamma").mean()
    first, second = (curves[order].to_numpy() for order in curves)
    widths, span = np.diff(curves.index), curves.index[-1] - curves.index[0]
    d0, d1 = (first - second)[:-1], (first - second)[1:]
    crossing = (d0**2 + d1**2) / (2 * (abs(d0) + abs(d1)))
    spread = (np.where(d0 * d1 < 0, crossing, (abs(d0) + abs(d1)) / 2) * widths).sum() / span
    middle = np.trapezoid(first + second, curves.index) / 2 / span
    error = 1 - middle - spread / 2 if rows["direction"].iloc[0] == "higher" else middle - spread / 2
    gaps = (wide.iloc[:, 0] - wide.iloc[:, 1]).unstack("gamma").apply(np.trapezoid, axis=1, x=curves.index) / span
    test = stats.ttest_1samp(gaps, 0.0)
    interval = test.confidence_interval(0.95)
    numbers = (error, spread, gaps.mean(), interval.low, interval.high, test.pvalue)
    return pd.Series(dict(zip(METRICS, numbers, strict=True)))


def measured(side: str, path: Path, result: Path) -> dict[str, float]:
    threads = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "ARROW_NUM_THREADS"), "1")
    small = result.with_name("small.parquet")
    write_wide_table(small, 3, (1, 2))
    command = [sys.executable, "-c", CODE, side, str(path), str(small), str(result)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **threads})
    figures: dict[str, float] = json.loads(done.stdout)
    print(f"\n{side}: {figures['busy']:.1f} s of a core, peak {figures['peak_bytes'] / 1e6:.0f} MB", end="")
    return figures


def test_a_million_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_wide_table(path, 10)
    ours, theirs = (measured(side, path, tmp_path / side) for side in ("rayci", "pandas"))
    frames: list[Any] = [pd.read_parquet(tmp_path / side) for side in ("rayci", "pandas")]
    assert_same(*frames)
    print(f"\n{len(frames[0])} cells, {theirs['busy'] / ours['busy']:.0f} times as fast")


def test_ten_million_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_wide_table(path, 100)
    measured("rayci", path, tmp_path / "rayci")
    frame: Any = pd.read_parquet(tmp_path / "rayci")
    assert len(frame) == 840 * len(SCALES)
    assert set(frame["n_replicates"]) <= {0, 100}
    pairs = frame[frame["method_i"] == EDITOR].groupby("method_j").filter(lambda cells: cells["n_points"].min() > 1)
    write_pairs(set(pairs["method_j"]), path, tmp_path / "some.parquet")
    assert_same(pairs, pandas_metrics(str(tmp_path / "some.parquet")))


def write_pairs(pruners: set[str], path: Path, part: Path) -> None:
    """Of a file that is too large for pandas the rows of one editor with these pruners."""
    pruner = rf"({'|'.join(pruners)})@\S+"
    pair = rf"^({EDITOR} > {pruner}|{pruner} > {EDITOR})$"
    with pq.ParquetFile(path) as rows, pq.ParquetWriter(part, rows.schema_arrow) as writer:
        for group in range(rows.num_row_groups):
            held = rows.read_row_group(group)
            writer.write_table(held.filter(pc.match_substring_regex(held.column("composition"), pair)))


def assert_same(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    frames = [ours.assign(pair=ours["method_i"] + " × " + ours["method_j"]), theirs]
    values = [frame.sort_values(["criterion", "pair"])[METRICS].to_numpy(np.float64) for frame in frames]
    np.testing.assert_allclose(*values, rtol=1e-12, atol=1e-12)


def test_bounded_at_40_edit_batches() -> None:
    table, within = wide_table(40, (4, 10)), {"mmlu": 0.02, "wmdp": 0.02}
    seconds, frames = [], []
    for metrics in (analysis.metrics, metric_table.metrics):
        start = time.process_time()
        frames.append(metrics(table, within=within))
        seconds.append(time.process_time() - start)
    numbers = [frame.select_dtypes("Float64").to_numpy(np.float64, na_value=np.nan) for frame in frames]
    np.testing.assert_allclose(*numbers, rtol=1e-12, atol=1e-12)
    print(
        f"\n{len(table)} rows: {seconds[0]:.2f} s, the oracle {seconds[1]:.1f} s, {seconds[1] / seconds[0]:.0f} times"
    )
