"""Nodes start for a sweep and go when it is over: 0, several, 0; on-demand ones where spot is sold out."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml
from ray._private.services import node_ip_address_from_perspective

from . import nodes
from .conftest import comparable

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HEAD = "ray.head.default"
UNUSED = ("cluster_synced_files", "initialization_commands", "setup_commands", "head_setup_commands")
UNUSED += ("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def start_command_settings() -> dict[str, str]:
    """The variables with which cluster.yaml starts the head."""
    command = yaml.safe_load((ROOT / "cluster.yaml").read_text())["head_start_ray_commands"][-1]
    return dict(word.split("=", 1) for word in command.split() if word.startswith("RAY_"))


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    """Where the provider notes what the autoscaler asks for."""
    return tmp_path / "requests"


@pytest.fixture
def address() -> str:
    return f"{node_ip_address_from_perspective()}:{free_port()}"


@pytest.fixture
def head(tmp_path: Path, requests: Path, address: str) -> Iterator[nodes.Node]:
    """A head without CPUs, and an autoscaler with the two worker types of cluster.yaml, small."""
    worker = {"min_workers": 0, "max_workers": 3, "node_config": {}}
    worker["resources"] = {"CPU": 1, "object_store_memory": 80_000_000}
    flags = ("disable_node_updaters", "disable_launch_config_check", "use_node_id_as_ip", "launch_multiple")
    config = {
        "cluster_name": "emulated",
        "max_workers": 3,
        "upscaling_speed": 4.0,
        "idle_timeout_minutes": 0.3,
        "provider": {
            "type": "external",
            "module": "tests.trials.sold_out.SoldOut",
            "requests": str(requests),
            "gcs_address": address,
            **dict.fromkeys(flags, True),
        },
        "available_node_types": {
            HEAD: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "a100.spot": worker,
            "a100.on_demand": worker,
        },
        "head_node_type": HEAD,
        "auth": {},
        "file_mounts": {},
        **{key: [] for key in UNUSED},
    }
    (tmp_path / "autoscaler.json").write_text(json.dumps(config))
    port = address.rpartition(":")[2]
    env = TOKEN | start_command_settings()
    env |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "PYTHONPATH": str(ROOT)}
    options = [f"--port={port}", "--num-cpus=0", "--include-dashboard=false"]
    options.append(f"--autoscaling-config={tmp_path / 'autoscaler.json'}")
    node = nodes.Node.start(tmp_path / "head.log", "--head", *options, env=env)
    nodes.wait(node.up)
    yield node
    node.stop()


def workers(head: nodes.Node) -> int:
    """Emulated worker nodes that are up."""
    raylets = 0
    for process in head.below():
        try:
            raylets += process.name() == "raylet" and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
    return raylets - 1


def test_from_nothing_and_back(
    ten_trials: Path, undisturbed: Path, head: nodes.Node, address: str, requests: Path, tmp_path: Path
) -> None:
    assert workers(head) == 0
    large = tmp_path / "large.yaml"
    large.write_text(ten_trials.read_text() + "resources: {cpus: 2}\n")
    process = nodes.sweep(large, tmp_path / "refused", address, env=TOKEN)
    text = process.communicate(timeout=nodes.LIMIT)[0]
    assert process.returncode == 2 and "a node of type a100.spot has 1 CPU" in text, text
    assert not (tmp_path / "refused").exists()

    run = tmp_path / "run"
    process = nodes.sweep(ten_trials, run, address, env=TOKEN)
    nodes.wait(lambda: workers(head) >= 2, process)
    nodes.finish(process)
    pd.testing.assert_frame_equal(comparable(run), comparable(undisturbed), check_exact=True)
    nodes.wait(lambda: workers(head) == 0)
    asked = [(line.split()[0], int(line.split()[1])) for line in requests.read_text().splitlines()]
    assert asked[0][0] == "a100.spot"
    assert sum(node_type == "a100.spot" for node_type, _ in asked) <= 2  # refused, then left alone
    assert max(count for _, count in asked) > 1  # the autoscaler sees several trials wait at a time
