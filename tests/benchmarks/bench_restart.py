"""A finished sweep run again: computes nothing, starts no Ray.

    OMP_NUM_THREADS=1 pytest tests/benchmarks/bench_restart.py -m bench --capture=no

Seconds of whole processes. The named alternatives: the first run, and a process that only imports what a run imports.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.bench

SPEC = Path(__file__).parents[2] / "trials" / "specs" / "quickstart.yaml"
REPEATS = 5
IMPORTS = "import rayci.trials.driver, torch, transformers"
LAUNCH = """
import json, sys
from rayci.trials import launch

run = launch(sys.argv[1], out=sys.argv[2])
print(json.dumps({"complete": run.complete, "computed": run.computed, "ray": "ray" in sys.modules}))
"""


def seconds(code: str, *arguments: str) -> tuple[float, Any]:
    """Seconds of a process and what it printed."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return time.perf_counter() - start, json.loads(done.stdout or "null")


def contents(folder: Path) -> dict[Path, int]:
    """Every file of the table and the store with the time of its last change."""
    return {path: path.stat().st_mtime_ns for name in ("table", "store") for path in (folder / name).rglob("*.*")}


def test_a_finished_sweep_run_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    first, found = seconds(LAUNCH, str(SPEC), str(run))
    assert found == {"complete": True, "computed": True, "ray": True}
    before = contents(run)
    again, imports = [], []
    for _ in range(REPEATS):
        imports.append(seconds(IMPORTS)[0])
        taken, found = seconds(LAUNCH, str(SPEC), str(run))
        again.append(taken)
        assert found == {"complete": True, "computed": False, "ray": False}
    assert contents(run) == before
    middle, bare = statistics.median(again), statistics.median(imports)
    print(f"\nfirst run {first:.1f} s; again {middle:.2f} s, {first / middle:.0f} times as fast;")
    print(f"imports alone {bare:.2f} s: again takes {middle / bare:.2f} times as long (medians of {REPEATS})")
