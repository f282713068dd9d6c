"""A cluster of several nodes on one machine, joined by a sweep; one of them killed in the middle."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest
from ray._private import ray_constants
from ray.cluster_utils import Cluster

from . import nodes
from .conftest import comparable


@pytest.fixture
def cluster(undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head and two more nodes with one CPU each; the run before it has turned token authentication on."""
    monkeypatch.setenv(ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, "1")
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    node = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=node)
    for _ in range(2):
        made.add_node(**node)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.fixture
def shadowed(tmp_path: Path) -> Path:
    """A working directory with folders of our names that would break whoever imports them."""
    place = tmp_path / "work"
    for name in ("analysis", "trials"):
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").write_text(f"raise RuntimeError('the foreign {name} was imported')\n")
    return place


def raylets(cluster: Cluster) -> list[int]:
    """Process ids of the nodes."""
    return [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()]


def busy(cluster: Cluster) -> set[int]:
    """The nodes on which a trial is at work."""
    return {pid for pid in raylets(cluster) if any(map(nodes.is_trial, psutil.Process(pid).children(recursive=True)))}


@pytest.mark.slow
def test_several_nodes(ten_trials: Path, undisturbed: Path, cluster: Cluster, shadowed: Path) -> None:
    run = shadowed / "run"
    process = nodes.sweep(ten_trials, run, cluster.address, cwd=shadowed)
    seen: set[int] = set()
    while process.poll() is None:
        seen |= busy(cluster)
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    nodes.finish(process)
    assert len(seen) == 3
    pd.testing.assert_frame_equal(comparable(run), comparable(undisturbed), check_exact=True)


@pytest.mark.slow
def test_node_killed(ten_trials: Path, undisturbed: Path, cluster: Cluster, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = nodes.sweep(ten_trials, run, cluster.address)
    victims = [node for node in cluster.list_all_nodes() if not node.head]
    working = []

    def at_work() -> bool:
        pids = busy(cluster)
        working[:] = [node for node in victims if node.all_processes["raylet"][0].process.pid in pids]
        return nodes.parts(run) >= 4 and bool(working)

    nodes.wait(at_work, process)
    assert nodes.parts(run) < nodes.parts(undisturbed)
    cluster.remove_node(working[0], allow_graceful=False)
    nodes.finish(process)
    pd.testing.assert_frame_equal(comparable(run), comparable(undisturbed), check_exact=True)
