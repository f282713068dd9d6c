"""Ray nodes as processes that a test starts, watches and kills; a sweep that joins them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent
LIMIT = 240
"""Seconds that anything here may take."""
MEMORY = "--object-store-memory=80000000"


def wait(condition: Callable[[], object], process: subprocess.Popen[str] | None = None, limit: float = LIMIT) -> None:
    """Until the condition holds; fails where the process ends before."""
    end = time.monotonic() + limit
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)


@dataclass
class Node:
    """`ray start … --block` in a process group of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(
        cls, log: Path, *arguments: str, env: Mapping[str, str] | None = None, within: Sequence[str] = ()
    ) -> Node:
        """A node with its output in `log`; `within` is a command to run it under (`ip netns exec …`)."""
        command = [*within, str(BIN / "ray"), "start", "--block", "--disable-usage-stats", MEMORY, *arguments]
        surroundings = {**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1", "OMP_NUM_THREADS": "1", **(env or {})}
        with log.open("w") as stream:
            process = subprocess.Popen(
                command, stdout=stream, stderr=subprocess.STDOUT, env=surroundings, start_new_session=True
            )
        return cls(process, log)

    def up(self) -> bool:
        """Whether Ray has said that it started; fails where it ended instead."""
        text = self.log.read_text()
        assert self.process.poll() is None, text
        return "Ray runtime started" in text

    def below(self) -> list[psutil.Process]:
        """All processes of the node."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            return []

    def works(self) -> bool:
        """Whether a trial is at work on this node."""
        return any(is_trial(process) for process in self.below())

    def kill(self) -> None:
        """SIGKILL to everything on the node at once, as when a machine loses power."""
        found = self.below()
        for process in [*found, *([] if self.process.poll() is not None else [psutil.Process(self.process.pid)])]:
            try:
                process.kill()
            except psutil.Error:
                continue
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to what is left."""
        found = self.below()
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
        for process in found:
            try:
                process.kill()
            except psutil.Error:
                continue


def is_trial(process: psutil.Process) -> bool:
    """Whether a trial runs in the process."""
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "ray::" in command and "train" in command


def sweep(
    spec: Path,
    run: Path,
    address: str,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    within: Sequence[str] = (),
) -> subprocess.Popen[str]:
    """`rayci run SPEC --address …` as a process."""
    command = [
        *within,
        sys.executable,
        "-m",
        "rayci",
        "run",
        str(spec),
        "--out",
        str(run),
        "--address",
        address,
    ]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd or spec.parent,
        env={**os.environ, **(env or {})},
    )


def parts(run: Path) -> int:
    """Stages whose rows are on disk."""
    return len(list((run / "table").glob("[!.]*.parquet")))


def finish(process: subprocess.Popen[str]) -> str:
    """The output of a sweep that ends well."""
    text = process.communicate(timeout=LIMIT)[0]
    assert process.returncode == 0, text
    return text
