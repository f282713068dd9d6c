"""The only node that could hold the trials leaves for good: the sweep ends, and goes on where there is one again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ray._private import ray_constants
from ray.cluster_utils import Cluster

from rayci import table
from rayci.errors import RequestError
from rayci.planning.plan import Stage, Trial
from rayci.trials import Callback, launch, waiting

pytestmark = pytest.mark.slow

SPEC = """\
model: testbed
interventions: {rtn: {bits: {sweep: [2, 3, 4, 6, 8]}}}
criteria: [avg_bits, hazard]
resources: {gpus: 0.5, device: cpu, unplaceable: skip}
"""
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without GPUs."""
    monkeypatch.setenv(ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, "1")
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    yield made
    made.shutdown()


class Unplug(Callback):
    """Takes a node away after the second stage."""

    def __init__(self, cluster: Cluster, node: Any) -> None:
        self.cluster, self.node, self.left = cluster, node, 2

    def stage_done(self, trial: Trial, stage: Stage, values: Mapping[str, float]) -> None:
        self.left -= 1
        if self.left == 0:
            self.cluster.remove_node(self.node, allow_graceful=False)


def test_a_sweep_outlives_the_only_node_that_could_hold_it(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("LOOK_EVERY", 0.2), ("LONG", 2.0), ("GRACE", 2.0)):
        monkeypatch.setattr(waiting, name, seconds)
    (tmp_path / "s.yaml").write_text(SPEC)
    options: dict[str, Any] = {"out": tmp_path / "run", "address": cluster.address}
    node = cluster.add_node(**NODE, num_gpus=1)
    run = launch(tmp_path / "s.yaml", callbacks=[Unplug(cluster, node)], **options)
    rows = table.read(tmp_path / "run").frame
    assert run.complete and run.counts["skipped"] > 0 and run.counts["given_up"] == 0
    assert set(rows["status"]) == {"ok", "skipped"} and rows["chain"].nunique() == 6
    reasons = rows[rows["status"] == "skipped"]["reason"]
    assert reasons.str.contains("it reserves 1 CPU, 0.5 GPU, and node .* is the largest with 1 CPU, 0 GPU").all()

    with pytest.raises(RequestError, match="which no node can give"):
        launch(tmp_path / "s.yaml", set=["resources.unplaceable=error"], **options)

    cluster.add_node(**NODE, num_gpus=1)
    run = launch(tmp_path / "s.yaml", **options)
    assert run.complete and run.counts["skipped"] == 0
    assert set(table.read(tmp_path / "run").frame["status"]) == {"ok"}
