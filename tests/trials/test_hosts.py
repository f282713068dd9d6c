"""Two hosts in network namespaces, the link between them cut in the middle of a sweep."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from . import nodes
from .conftest import comparable

pytestmark = pytest.mark.slow

HERE, THERE = "10.77.31.1", "10.77.31.2"
PORT = 6400
NOTICED = {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3"}
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}


def ip(*arguments: str) -> bool:
    return subprocess.run(["ip", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Names of two namespaces with a cable between them."""
    near, far = f"rayci-{os.getpid()}-a", f"rayci-{os.getpid()}-b"
    if os.geteuid() != 0 or not shutil.which("ip") or not ip("netns", "add", near):
        pytest.skip("needs root, iproute2 and network namespaces")
    try:
        assert ip("netns", "add", far)
        assert ip("link", "add", "cable", "netns", near, "type", "veth", "peer", "name", "cable", "netns", far)
        for name, address in ((near, HERE), (far, THERE)):
            assert ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            assert all(ip("-n", name, "link", "set", device, "up") for device in ("lo", "cable"))
        yield near, far
    finally:
        ip("netns", "delete", near)
        ip("netns", "delete", far)


@pytest.fixture
def two_nodes(hosts: tuple[str, str], tmp_path: Path) -> Iterator[list[nodes.Node]]:
    """A head on the first host, a worker on the second, one CPU each."""
    env = TOKEN | NOTICED
    short = Path(tempfile.mkdtemp(prefix="rayci-"))  # the path of a socket has at most 107 bytes
    started: list[nodes.Node] = []
    try:
        for name, address in zip(hosts, (HERE, THERE), strict=True):
            role = ["--head", f"--port={PORT}", "--include-dashboard=false"] if not started else []
            role = role or [f"--address={HERE}:{PORT}"]
            options = [*role, f"--node-ip-address={address}", "--num-cpus=1", f"--temp-dir={short / name}"]
            options = options if not started else options[:-1]
            within = ["ip", "netns", "exec", name]
            started.append(nodes.Node.start(tmp_path / f"{name}.log", *options, env=env, within=within))
            nodes.wait(started[-1].up)
        yield started
    finally:
        for node in started:
            node.kill()
        shutil.rmtree(short, ignore_errors=True)


def test_link_cut_and_restored(
    ten_trials: Path, undisturbed: Path, hosts: tuple[str, str], two_nodes: list[nodes.Node], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    within = ["ip", "netns", "exec", hosts[0]]
    process = nodes.sweep(ten_trials, run, f"{HERE}:{PORT}", env=TOKEN, within=within)
    far = two_nodes[1]
    nodes.wait(lambda: nodes.parts(run) >= 4 and far.works(), process)
    assert nodes.parts(run) < nodes.parts(undisturbed)
    assert ip("-n", hosts[0], "link", "set", "cable", "down")
    time.sleep(12)  # longer than it takes to be given up
    assert ip("-n", hosts[0], "link", "set", "cable", "up")
    nodes.finish(process)
    pd.testing.assert_frame_equal(comparable(run), comparable(undisturbed), check_exact=True)
