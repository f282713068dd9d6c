"""cluster.slurm runs a sweep on two nodes; `srun` and `scontrol` are replaced, all else is real."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from . import nodes
from .conftest import comparable

SCRIPT = Path(__file__).parents[2] / "cluster.slurm"

# Starts the task here, as srun would on a node; one task a call is enough for two nodes.
SRUN = """#!/bin/bash
echo "$*" >> "$(dirname "$0")/../steps"
while [[ $1 == --* ]]; do shift; done
exec "$@" --object-store-memory=80000000
"""
SCONTROL = f"""#!/bin/bash
echo {socket.gethostname()}
echo another
"""


def submit(place: Path, *arguments: str) -> subprocess.Popen[str]:
    """The batch file as SLURM would run it on the first of two nodes."""
    (place / "bin").mkdir(parents=True)
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (place / "bin" / name).write_text(text)
        (place / "bin" / name).chmod(0o755)
    (place / ".venv").symlink_to(sys.prefix)
    slurm = {
        "SLURM_SUBMIT_DIR": str(place),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "1",
    }
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    env = clean | slurm | {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    command = ["bash", str(SCRIPT), *arguments]
    return subprocess.Popen(
        command, cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def test_script_is_clean() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(SCRIPT)], check=True)


@pytest.mark.slow
def test_sweep(ten_trials: Path, undisturbed: Path, tmp_path: Path) -> None:
    job = submit(tmp_path / "job", str(ten_trials), "--out", str(tmp_path / "run"))
    nodes.finish(job)
    steps = (tmp_path / "job" / "steps").read_text().splitlines()
    assert len(steps) == 2
    assert "--head" in steps[0]
    assert "--address" in steps[1]
    pd.testing.assert_frame_equal(comparable(tmp_path / "run"), comparable(undisturbed), check_exact=True)


@pytest.mark.slow
def test_exit_code(tmp_path: Path) -> None:
    job = submit(tmp_path / "job", "missing.yaml")
    text = job.communicate(timeout=nodes.LIMIT)[0]
    assert job.returncode == 2, text
    assert "missing.yaml" in text
