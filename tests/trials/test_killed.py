"""A worker and the driver killed in mid-sweep, one interrupted, a part damaged: the same command continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest

from rayci import table
from rayci.errors import RequestError
from rayci.trials import launch

from .conftest import comparable
from .nodes import LIMIT, is_trial, wait


def start(spec: Path, run: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rayci", "run", str(spec), "--out", str(run), "--workers", "2", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=spec.parent)


def parts(run: Path) -> list[Path]:
    return list((run / "table").glob("[!.]*.parquet"))


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Processes below the driver in which a trial runs."""
    return [child for child in psutil.Process(process.pid).children(recursive=True) if is_trial(child)]


def check(run: Path, undisturbed: Path) -> None:
    for part in parts(run):
        table.read_part(part)
    pd.testing.assert_frame_equal(comparable(run), comparable(undisturbed), check_exact=True)


def finish(spec: Path, run: Path, *more: str) -> str:
    process = start(spec, run, *more)
    text = process.communicate(timeout=LIMIT)[0]
    assert process.returncode == 0, text
    return text


def kept(run: Path) -> dict[Path, int]:
    """Parts and the times of their last change."""
    return {path: path.stat().st_mtime_ns for path in parts(run)}


def listening(process: subprocess.Popen[str]) -> set[str]:
    """Addresses on which the driver and the processes below it accept connections."""
    driver = psutil.Process(process.pid)
    sockets = [c for child in [driver, *driver.children(recursive=True)] for c in child.net_connections("tcp")]
    return {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}


def test_one_sweep_loses_a_worker_is_interrupted_and_loses_its_driver_and_a_part(
    ten_trials: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = start(ten_trials, run)
    wait(lambda: len(parts(run)) >= 3 and bool(workers(process)), process)
    assert listening(process) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}  # nothing for the network
    with pytest.raises(RequestError, match="another process is running"):
        launch(ten_trials, out=run)
    workers(process)[0].kill()
    wait(lambda: len(parts(run)) >= 6, process)  # it went on without
    process.terminate()
    text = process.communicate(timeout=LIMIT)[0]
    assert process.returncode == 130, text
    hint = f"Interrupted. The same command continues: rayci run {ten_trials} --out {run} --workers 2"
    assert text.splitlines()[-1] == hint, text
    assert not any(word in text for word in ("Traceback", "\tERROR", "SIGTERM", "SIGABRT")), text
    interrupted = kept(run)

    process = start(ten_trials, run)
    wait(lambda: len(parts(run)) >= len(interrupted) + 3, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    killed = kept(run)
    assert interrupted.items() <= killed.items()
    assert len(killed) < len(parts(undisturbed))

    victim = sorted(killed)[3]
    victim.write_bytes(victim.read_bytes()[:200])
    del killed[victim]
    assert "In which order?" in finish(ten_trials, run)
    assert killed.items() <= kept(run).items()
    assert len(list((run / "aside").iterdir())) == 1
    check(run, undisturbed)
