"""A spot node vanishes every 30 s, and another takes its place: one command ends the sweep, and nothing is lost.

pytest -m chaos tests/trials/test_vanishing_nodes.py -s
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from rayci.trials import launch

from .conftest import comparable
from .own_cluster import OwnCluster
from .test_chaos import SIXTY_TRIALS

pytestmark = pytest.mark.chaos

EVERY = float(os.environ.get("RAYCI_VANISH_EVERY", "30"))
"""Seconds from one loss of a node to the next."""
NODES = 2


def test_a_sweep_outlives_its_nodes(tmp_path: Path) -> None:
    spec = tmp_path / "sixty.yaml"
    spec.write_text(SIXTY_TRIALS.replace("replicates: 2", "replicates: 5"))  # minutes, so that nodes can vanish
    assert launch(spec, out=tmp_path / "calm").complete
    cluster, vanished = OwnCluster(), 0
    try:
        cluster.start(NODES)
        command = [sys.executable, "-m", "rayci", "run", str(spec), "--out", str(tmp_path / "run")]
        driver = subprocess.Popen(
            [*command, "--address", cluster.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            env=cluster.environment,
        )
        lost_at = time.monotonic()
        while driver.poll() is None:
            if time.monotonic() - lost_at > EVERY:
                cluster.kill_node(vanished)
                cluster.start(NODES)
                vanished, lost_at = vanished + 1, time.monotonic()
            time.sleep(0.5)
        text = driver.communicate()[0]
    finally:
        cluster.close()
    print(f"\n{vanished} nodes vanished, one every {EVERY:.0f} s")
    assert driver.returncode == 0, text
    assert vanished >= 2
    pd.testing.assert_frame_equal(comparable(tmp_path / "run"), comparable(tmp_path / "calm"), check_exact=True)
