"""cluster.slurm runs a sweep on two nodes; `srun` and `scontrol` are replaced, all else is real."""

from __future__ import annotations

import getpass
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


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def submit(place: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """The batch file as SLURM would run it on the first of two nodes."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        script(place / "bin" / name, text)
    if not (place / ".venv").exists():
        (place / ".venv").symlink_to(sys.prefix)
    slurm = {
        "SLURM_SUBMIT_DIR": str(place),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_MEM_PER_NODE": "4096",
        "SLURM_TMPDIR": str(place / "local"),
    }
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    env = clean | slurm | {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"} | variables
    command = ["bash", str(SCRIPT), *arguments]
    return subprocess.Popen(
        command, cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def test_script_is_clean() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(SCRIPT)], check=True)


@pytest.mark.parametrize("own", [False, True])
def test_what_a_node_is_given(own: bool, tmp_path: Path) -> None:
    """Its memory; places on its own disk, but for the hub's files where HF_HOME says so; the login of the submitter."""
    both_started = 'until [ "$(wc -l < steps)" = 2 ]; do sleep 0.1; done'
    shown = f'#!/bin/bash\n{both_started}\necho "$RAYCI_CACHE $HF_HOME $HF_TOKEN_PATH"\n'
    for name, text in (("ray", "#!/bin/bash\n"), ("rayci", shown)):
        script(tmp_path / ".venv" / "bin" / name, text)
    variables = {"HOME": "/home/me", "HF_HOME": "/shared/hub"} if own else {"HOME": "/home/me"}
    said = submit(tmp_path, "spec.yaml", **variables).communicate(timeout=nodes.LIMIT)[0].splitlines()[-1].split()
    local = f"{tmp_path}/local/rayci-{getpass.getuser()}"
    hub, token = (
        ("/shared/hub", "/shared/hub/token") if own else (f"{local}/huggingface", "/home/me/.cache/huggingface/token")
    )
    assert said == [local, hub, token]
    starts = (tmp_path / "steps").read_text().splitlines()
    assert len(starts) == 2 and all(f"--memory={4096 * 2**20 * 9 // 10}" in start.split() for start in starts)


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
