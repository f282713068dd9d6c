"""`rayci run --address` where no cluster answers, or not to us: one clear error, within seconds, nothing written."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayci.errors import RequestError
from rayci.trials.address import check_address

from . import nodes

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}


@pytest.fixture
def port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("address", ["nowhere", "ray://127.0.0.1:10001", "127.0.0.1:{port}"])
def test_nothing_there(address: str, port: int) -> None:
    with pytest.raises(RequestError, match=r"(?s)no Ray cluster at .*auto, or host:port"):
        check_address(address.format(port=port))


@pytest.fixture
def head(port: int, tmp_path: Path) -> Iterator[nodes.Node]:
    """A head that asks for a token."""
    options = ["--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false"]
    node = nodes.Node.start(tmp_path / "head.log", *options, env=TOKEN)
    nodes.wait(node.up)
    yield node
    node.stop()


def check(port: int, **env: str) -> subprocess.CompletedProcess[str]:
    """`check_address` in a process of its own: Ray reads a token once."""
    code = (
        "import sys; from rayci.trials.address import check_address; from rayci.errors import RequestError\n"
        "try: check_address(sys.argv[1])\nexcept RequestError as error: sys.exit(str(error))"
    )
    command = [sys.executable, "-c", code, f"127.0.0.1:{port}"]
    surroundings = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return subprocess.run(command, env=surroundings | env, capture_output=True, text=True, timeout=60, check=False)


def test_token(head: nodes.Node, port: int, tmp_path: Path) -> None:
    nobody = {"HOME": str(tmp_path)}
    for env in (nobody, TOKEN | {"RAY_AUTH_TOKEN": "b" * 64}):
        refused = check(port, **env)
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"the Ray cluster at 127.0.0.1:{port} does not accept our token"), env
        assert "Traceback" not in refused.stderr
    for env in (TOKEN, {"RAY_AUTH_TOKEN": TOKEN["RAY_AUTH_TOKEN"]}):
        assert check(port, **env).returncode == 0, env
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(TOKEN["RAY_AUTH_TOKEN"])
    assert check(port, **nobody).returncode == 0
