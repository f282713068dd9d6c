"""What a sweep leaves of Ray in the process that launched it, and beside it; several Rays in one process."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import nodes

SPEC = "interventions: {rtn: {bits: 4}}\ncriteria: [avg_bits]\n"
PACKED = SPEC + "resources: {gpus: 0.5, device: cpu}\n"
"""On half a GPU that nobody has."""
SCRIPT = """\
import logging, os, signal, sys
import ray
from ray._private import ray_constants
from ray._raylet import get_authentication_mode
from rayci.errors import RequestError
from rayci.trials import launch

spec, packed, address = sys.argv[1:]
watched = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

def state():
    variables = {k: v for k, v in os.environ.items() if k.startswith(("RAY_", "TUNE_", "PYTHONB"))}
    levels = [logging.getLogger(name).level for name in ("ray", "ray.tune")]
    switches = (ray_constants.ENABLE_RAY_CLUSTER, get_authentication_mode())
    return variables, switches, levels, [signal.getsignal(number) for number in watched], os.getcwd()

before = state()
def refuse(text, spec):
    try:
        launch(spec, out="refused", address=address)
    except RequestError as error:
        assert text in str(error) and not os.path.exists("refused"), error
    else:
        raise AssertionError(f"not refused: {text}")

run = launch(packed, out="run", workers=1)
assert run.complete and run.computed and not ray.is_initialized()
assert state() == before, (state(), before)
refuse("reserves 1 CPU, 0.5 GPU, which no node can give", packed)
assert launch(spec, out="joined", address=address).computed
assert state() == before, (state(), before)

ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
refuse("connected to a Ray already", spec)
assert launch(spec, out="own", workers=1).computed and ray.is_initialized()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home directory of an account that has never used Ray."""
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A head that asks for no token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    options = ["--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false"]
    node = nodes.Node.start(tmp_path / "head.log", *options, env={"RAY_AUTH_MODE": "disabled"})
    nodes.wait(node.up)
    yield f"127.0.0.1:{port}"
    node.stop()


def test_everything_is_put_back(home: Path, address: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SPEC)
    (tmp_path / "packed.yaml").write_text(PACKED)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TUNE_"))}
    environment |= {"HOME": str(home), "TUNE_MAX_PENDING_TRIALS_PG": "7"}
    command = [sys.executable, "-c", SCRIPT, "s.yaml", "packed.yaml", address]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    token = home / ".ray" / "auth_token"
    assert len(token.read_text()) == 64
    for path in (token, token.parent):
        assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), path
    holders = [path for path in tmp_path.rglob("*") if path.is_file() and token.read_bytes() in path.read_bytes()]
    assert holders == [token]
