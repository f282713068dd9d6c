"""cluster.yaml is valid for Ray's own validation, offline, and keeps what the documentation says of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.node_provider_availability_tracker import NodeProviderAvailabilityTracker
from ray.autoscaler._private.resource_demand_scheduler import get_nodes_for
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.node_launch_exception import NodeLaunchException

from rayci.trials.node_choice import available_first

CLUSTER = Path(__file__).parents[2] / "cluster.yaml"
SPOT, ON_DEMAND = "a100.spot", "a100.on_demand"
COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


@pytest.fixture
def config() -> dict[str, Any]:
    return dict(yaml.safe_load(CLUSTER.read_text()))


def test_valid_for_ray(config: dict[str, Any]) -> None:
    validate_config(prepare_config(config))
    assert config["idle_timeout_minutes"] > 0


def test_node_types(config: dict[str, Any]) -> None:
    types = dict(config["available_node_types"])
    head, spot, fallback = types.pop(config["head_node_type"]), types.pop(SPOT), types.pop(ON_DEMAND)
    assert not types
    assert head["resources"] == {"CPU": 0}
    assert spot["min_workers"] == fallback["min_workers"] == 0
    assert 0 < fallback["max_workers"] <= spot["max_workers"] <= config["max_workers"]
    assert spot["resources"] == fallback["resources"] == {"CPU": 96, "GPU": 8, "memory": 10**12}
    assert f"--memory={10**12} " in config["worker_start_ray_commands"][-1], "no less than the autoscaler counts on"
    assert spot["node_config"].pop("InstanceMarketOptions") == {"MarketType": "spot"}
    assert spot["node_config"] == fallback["node_config"]


def test_account_values_are_marked() -> None:
    for line in CLUSTER.read_text().splitlines():
        specific = re.search(r"ami-|fs-0|us-east-1$|arn:", line)
        assert not specific or "# PLACEHOLDER" in line, line


def test_commands(config: dict[str, Any]) -> None:
    for key in COMMANDS:
        for command in config[key]:
            subprocess.run(["bash", "-n"], input=command, text=True, check=True)
    assert any("pip install -r ~/rayci/requirements.lock" in command for command in config["setup_commands"])
    assert "boto3" in config["head_setup_commands"][0]


def on_a_node(command: str, tmp_path: Path, **stand_ins: str) -> str:
    """What a command says when it is run by bash, its programs replaced by these scripts."""
    for name, script in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    surroundings = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
    return subprocess.run(["bash", "-c", command], env=surroundings, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("disks", "raid"), [("/dev/nvme1n1", 1), ("/dev/nvme1n1 /dev/nvme2n1", 2), ("", 0)])
def test_the_disks_of_a_node_are_its_cache(disks: str, raid: int, config: dict[str, Any], tmp_path: Path) -> None:
    (command,) = (each for each in config["initialization_commands"] if "/nvme" in each)
    listed = "\n".join(
        ["/dev/nvme0n1 Amazon Elastic Block Store", *(f"{d} Amazon EC2 NVMe Instance Storage" for d in disks.split())]
    )
    said = on_a_node(command, tmp_path, mountpoint="exit 1", lsblk=f"echo '{listed}'", sudo='echo "$*"')
    assert said.splitlines()[0] == "mkdir -p /nvme" and said.splitlines()[-1] == "chown ubuntu /nvme"
    assert (f"--level=0 --raid-devices={raid} {disks}\n" in said) is (raid > 0)
    assert ("mount /dev/md0 /nvme" in said) is (raid > 0)
    assert not on_a_node(command, tmp_path, mountpoint="exit 0"), "once"


def test_what_every_process_of_a_node_is_given(config: dict[str, Any], tmp_path: Path) -> None:
    """Places below /nvme; the hub's token as the secret has it, which is written nowhere."""
    (tmp_path / "boto3.py").write_text(
        "class client:\n"
        "    def __init__(self, *service): pass\n"
        "    def get_secret_value(self, SecretId): return {'SecretString': 'hf_of_' + SecretId}\n"
    )
    commands = [each for each in config["setup_commands"] if "~/.bashrc" in each] * 2
    shown = "echo $RAY_AUTH_MODE $RAYCI_CACHE $HF_HOME $HF_TOKEN"
    python = f'PYTHONPATH={tmp_path} {sys.executable} "$@"'
    said = on_a_node("\n".join(["touch ~/.bashrc", *commands, ". ~/.bashrc", shown]), tmp_path, python=python)
    assert said == "token /nvme/rayci /nvme/huggingface hf_of_rayci/hub-token\n"
    written = (tmp_path / ".bashrc").read_text()
    assert "hf_of" not in written and written.count("\n") == 2


def test_token_on_every_node(config: dict[str, Any]) -> None:
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    starts = [config[f"{node}_start_ray_commands"][-1] for node in ("head", "worker")]
    assert all("RAY_AUTH_MODE=token" in start and "ray start" in start for start in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]


def test_on_demand_where_spot_is_missing(config: dict[str, Any]) -> None:
    start = config["head_start_ray_commands"][-1]
    assert "RAY_enable_autoscaler_v2=0" in start  # the score of the second autoscaler cannot be replaced
    assert f"RAY_AUTOSCALER_UTILIZATION_SCORER={available_first.__module__}.{available_first.__name__}" in start
    clock = [1000.0]
    tracker = NodeProviderAvailabilityTracker(timer=lambda: clock[0])

    def chosen(trials: int) -> dict[str, int]:
        types, head = config["available_node_types"], config["head_node_type"]
        demands = [{"CPU": 4.0, "GPU": 1.0}] * trials

        def score(*given: Any) -> Any:
            return available_first(*given, node_availability_summary=tracker.summary())

        return dict(get_nodes_for(types, {head: 1}, head, config["max_workers"], demands, score)[0])

    assert chosen(16) == {SPOT: 2}
    tracker.update_node_availability(SPOT, 1000, NodeLaunchException("InsufficientInstanceCapacity", "", None))
    assert chosen(16) == {ON_DEMAND: 2}
    assert chosen(48) == {ON_DEMAND: 4, SPOT: 2}
    clock[0] += 3600
    assert chosen(16) == {SPOT: 2}
