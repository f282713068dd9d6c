"""The published grid on 32 nodes of 8 GPUs that are declared to Ray: stages take simulated time, Ray places trials.

pytest -m slow tests/trials/test_256_gpus.py -s       ten minutes; RAYCI_NODES=4 RAYCI_SECONDS=60 for a short look
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .own_cluster import OwnCluster

pytestmark = pytest.mark.slow

NODES, GPUS = int(os.environ.get("RAYCI_NODES", "32")), 8
LEAST = float(os.environ.get("RAYCI_SECONDS", "480"))
"""Seconds that no schedule can beat."""


@pytest.fixture
def cluster() -> Iterator[OwnCluster]:
    made = OwnCluster()
    made.start(NODES, f"--num-gpus={GPUS}")
    yield made
    made.close()


def test_makespan_and_memory_of_the_driver(cluster: OwnCluster) -> None:
    command = [sys.executable, "-m", "tests.trials.played_grid", cluster.address, str(NODES * GPUS), str(LEAST)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, env=cluster.environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"\n{found['trials']} trials on {NODES} nodes of {GPUS} GPUs, up to {found['busiest']} at a time:", end=" ")
    print(f"{found['seconds'] / LEAST:.3f} times the bound, of which the schedule without Ray is", end=" ")
    print(f"{found['foreseen'] / LEAST:.3f}; driver's peak {found['peak'] / 1e6:.0f} MB")
    assert found["seconds"] <= 1.05 * found["foreseen"], "placing trials holds the sweep up"
    assert found["foreseen"] <= 1.06 * LEAST, "no bound for whole trials of a tenth of the sweep's length"
    assert found["peak"] < 2e9
