"""A head is lost and comes back with its memory: a driver on another host goes on, as on trials/rayjob.yaml."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from . import nodes
from .conftest import comparable
from .test_hosts import HERE, PORT, THERE, TOKEN, hosts, ip

__all__ = ["hosts"]

pytestmark = pytest.mark.slow

PATIENT = TOKEN | {"RAY_gcs_rpc_server_reconnect_timeout_s": "180"}
"""Seconds that nodes and drivers wait for the head; KubeRay says 600."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: that of a socket has at most 107 bytes."""
    place = Path(tempfile.mkdtemp(prefix="rayci-"))
    yield place
    shutil.rmtree(place, ignore_errors=True)


def inside(hosts: tuple[str, str], folder: Path) -> tuple[list[str], list[str]]:
    """What runs a command on the first host, and on the second: processes and Ray's files of their own."""
    (near, far), (session, other) = hosts, (folder / "session", folder / "other")
    for place in (session, other):
        place.mkdir()
    for host in hosts:  # how Ray finds out which host it is on
        assert ip("-n", host, "route", "add", "default", "dev", "cable")
    hidden = f'mount --bind {other} {session} && exec "$@"'
    return (
        ["ip", "netns", "exec", near, "unshare", "--mount", "--pid", "--fork", "--mount-proc"],
        ["ip", "netns", "exec", far, "unshare", "--mount", "sh", "-c", hidden, "sh"],
    )


def test_a_driver_outlives_the_head(
    ten_trials: Path, undisturbed: Path, hosts: tuple[str, str], folder: Path, tmp_path: Path
) -> None:
    here, there = inside(hosts, folder)
    started: list[nodes.Node] = []

    def start(within: list[str], *options: str, env: dict[str, str]) -> nodes.Node:
        started.append(nodes.Node.start(tmp_path / f"{len(started)}.log", *options, env=PATIENT | env, within=within))
        nodes.wait(started[-1].up)
        return started[-1]

    def head() -> nodes.Node:
        options = ["--head", f"--port={PORT}", f"--node-ip-address={HERE}", "--num-cpus=0", "--include-dashboard=false"]
        memory = {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(folder / "memory")}
        return start(here, *options, f"--temp-dir={folder / 'session'}", env=memory)

    try:
        first = head()
        worker = start(there, f"--address={HERE}:{PORT}", f"--node-ip-address={THERE}", "--num-cpus=1", env={})
        run = tmp_path / "run"
        process = nodes.sweep(ten_trials, run, f"{HERE}:{PORT}", env=PATIENT, within=there)
        nodes.wait(lambda: nodes.parts(run) >= 3 and worker.works(), process)
        first.kill()
        assert nodes.parts(run) < nodes.parts(undisturbed)
        head()
        nodes.finish(process)
        pd.testing.assert_frame_equal(comparable(run), comparable(undisturbed), check_exact=True)
    finally:
        for node in started:
            node.kill()
