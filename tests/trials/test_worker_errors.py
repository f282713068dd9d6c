"""A worker that cannot start says why; where every one says the same, that ends the sweep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

METHOD = '''\
"""A method whose package is broken on the nodes alone."""
import sys
if "default_worker.py" in " ".join(sys.orig_argv):
    raise OSError("libnodes.so.3: cannot open shared object file")
from rayci.intervention import Intervention, Receipt
from rayci.kinds import Kind


class Here(Intervention):
    name = "here"
    kind = Kind.EDIT
    seeded = False

    def apply(self, subject, context):
        return Receipt(())
'''


def test_the_error_of_every_worker_ends_the_sweep_with_its_text(tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text(METHOD)
    metadata = tmp_path / "here-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: here\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[rayci.interventions]\nhere = here:Here\n")
    (tmp_path / "s.yaml").write_text("interventions: {here: {}}\ncriteria: [avg_bits]\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "rayci", "run", "s.yaml", "--out", "run", "--workers", "1", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: no trial can start: ") and "libnodes.so.3" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    kept = (tmp_path / "run" / "worker-error.txt").read_text()
    assert "worker-error.txt in the run folder" in done.stderr and kept.startswith("Traceback")
    assert not list((tmp_path / "run" / "table").glob("*.parquet")), "no row says that the worker died"
