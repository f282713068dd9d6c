"""A Ray cluster on this machine of a head and nodes in processes of our own, to be killed one by one."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import psutil

START = 90.0
"""Seconds that a head or a node may take to start."""
TRIES = 3
TOGETHER = 4
"""Nodes that start at a time: more starve each other."""


def free_port() -> int:
    """A port on loopback that nothing listens on."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class OwnCluster:
    """A head without CPUs and nodes of one CPU each, on loopback, with a token and a folder of their own.

    Nothing of another Ray on the machine is touched: whatever is killed was started here.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rc-", dir="/tmp"))  # sockets allow no long paths
        self.environment = {
            **os.environ,
            "RAY_TMPDIR": str(self.folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",  # switched off by a run on this machine alone
            "RAY_gcs_rpc_server_reconnect_timeout_s": "5",  # by default 60 until a driver gives a dead head up
            "RAY_health_check_initial_delay_ms": "1000",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_failure_threshold": "4",
        }
        self._head: subprocess.Popen[bytes] | None = None
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._logs: dict[int, Path] = {}
        self.address = ""

    def start(self, nodes: int, *options: str) -> None:
        """Start what is missing, a head and nodes up to this number, and wait until they are up; `options` of nodes."""
        for _ in range(TRIES * (nodes + 1)):
            if self._head is None or not self._comes_up(self._head):
                self.kill_head()
                port = free_port()
                self.address = f"127.0.0.1:{port}"
                self._head = self._start("--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")
                continue
            self._nodes = [node for node in self._nodes if self._comes_up(node)]
            missing = nodes - len(self._nodes)
            if missing <= 0:
                return
            for _ in range(min(missing, TOGETHER)):
                self.add_node(*options)
        logs = [log.read_text() for log in self._logs.values()]
        raise RuntimeError(f"ray start: {logs[-1]}")

    def add_node(self, *options: str) -> None:
        """Start a node; it joins within seconds."""
        self._nodes.append(self._start(f"--address={self.address}", "--num-cpus=1", *options))

    def kill_node(self, index: int) -> None:
        """SIGKILL of everything that runs on a node, its raylet first."""
        _kill(self._nodes.pop(index % len(self._nodes)))

    def kill_head(self) -> None:
        """SIGKILL of the head and of all nodes."""
        for process in [self._head, *self._nodes]:
            if process is not None:
                _kill(process)
        self._head, self._nodes = None, []

    def workers(self) -> list[psutil.Process]:
        """Processes in which a trial runs."""
        return [child for node in self._nodes for child in _below(node) if is_trial(child)]

    def close(self) -> None:
        """Kill what is left and remove its folder."""
        self.kill_head()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"start-{len(list(self.folder.glob('start-*')))}"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address=127.0.0.1"]
        command += ["--min-worker-port=0", "--max-worker-port=0", "--include-log-monitor=false"]
        command += ["--object-store-memory=100000000", *options]
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, stdout=stream, stderr=subprocess.STDOUT, env=self.environment, start_new_session=True
            )
        self._logs[process.pid] = log
        return process

    def _comes_up(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for a head or a node; False where it does not start, as happens on a busy machine."""
        end = time.monotonic() + START
        while process.poll() is None and time.monotonic() < end:
            if b"Ray runtime started" in self._logs[process.pid].read_bytes():
                return True
            time.sleep(0.1)
        _kill(process)
        return False


def is_trial(process: psutil.Process) -> bool:
    """Whether a trial runs in this process, or has run: Ray names it after the method."""
    with suppress(psutil.Error):
        name = " ".join(process.cmdline())
        return "ray::" in name and ("train" in name or "CompositionTrial" in name or "_Inner" in name)
    return False


def _below(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def _kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL of a process and all below it, the raylet first."""
    below = sorted(_below(process), key=lambda child: "raylet" not in _name(child))
    for child in below:
        with suppress(psutil.Error):
            child.kill()
    process.send_signal(signal.SIGKILL)
    process.wait()


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return str(process.name())
    return ""
