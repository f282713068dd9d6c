"""A plan of 100 000 trials: seconds and peak memory of a process of its own.

    pytest tests/benchmarks/bench_plan.py -m bench --capture=no

The named alternative is the same process with a plan of one trial: what imports alone take. Two
shapes: as many compositions as trials (105 456 triples of 26³ settings in six orders), and the
published grid's 310 compositions on 653 edit batches.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.bench

CODE = """
import json, resource, sys, time
from pathlib import Path
from rayci.planning import plan
from rayci.planning import spec

shape, size = sys.argv[1], int(sys.argv[2])
if shape == "triples":
    swept = {"ft": "lr", "wanda": "sparsity", "gd": "alpha"}
    grid = [(1 + index) / (size + 1) for index in range(size)]
    given = spec.Spec.model_validate({
        "name": "wide",
        "interventions": {method: {name: {"sweep": grid}} for method, name in swept.items()},
        "compose": {"triples": "across_kinds", "pairs": "none", "singles": False},
        "criteria": ["edit_success", "utility"],
    })
else:
    given = spec.load(Path("trials/specs/published_testbed.yaml")).model_copy(update={"replicates": size})
plan.make(given.model_copy(update={"replicates": 1, "compose": spec.Compose(pairs="none")}))  # imports
start, busy = time.perf_counter(), time.process_time()
made = plan.make(given)
counts = made.summary()
seconds, busy = time.perf_counter() - start, time.process_time() - busy
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({**counts, "seconds": seconds, "busy": busy, "peak_bytes": peak}))
"""


def measured(shape: str, size: int) -> dict[str, float]:
    command = [sys.executable, "-c", CODE, shape, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("shape", "size", "trials"), [("triples", 26, 105_456), ("published", 653, 100_066)])
def test_a_plan_of_100_000_trials(shape: str, size: int, trials: int) -> None:
    found, imports = measured(shape, size), measured(shape, 1)
    assert found["trials"] == trials
    print(
        f"\n{shape}: {trials:,} trials, {found['stages_computed']:,.0f} of {found['stages_asked']:,.0f} stages, "
        f"{found['seconds']:.1f} s ({found['busy']:.1f} s of a core), peak {found['peak_bytes'] / 1e6:.0f} MB, "
        f"{found['peak_bytes'] / imports['peak_bytes']:.1f} times the {imports['peak_bytes'] / 1e6:.0f} MB of imports"
    )
