"""A method that needs more memory than a share of a GPU holds: the trial grows, then fails for good."""

from __future__ import annotations

import os
import subprocess
import sys

import pandas as pd
import pytest

from rayci import table

pytestmark = pytest.mark.slow

GREEDY = '''\
"""A method that fits into memory only where its trial reserved enough of a GPU."""
import ray
import torch
from rayci.intervention import Intervention, Receipt
from rayci.kinds import Kind


class Greedy(Intervention):
    name = "greedy"
    kind = Kind.EDIT
    seeded = False
    needs_gpus: float = 1.0

    def apply(self, subject, context):
        share = ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0)
        torch.empty(2**50 if share < self.needs_gpus else 1)
        name, weight = next(iter(subject.model.named_parameters()))
        with torch.no_grad():
            weight.add_(share)
        return Receipt((name,))
'''
SPEC = """\
model: testbed
interventions:
  greedy: {needs_gpus: {sweep: [0.25, 1.0, 4.0]}}
  rtn: {bits: 4}
compose: {orders: listed, singles: false}
recompress: never
criteria: [avg_bits]
resources: {gpus: 0.25, device: cpu}
"""
SCRIPT = """\
import sys
import ray
from rayci.trials import launch

ray.init("local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
run = launch(sys.argv[1], out=sys.argv[2])
assert run.complete and run.counts["done"] == 3, run.counts
print(*run.notes, sep="\\n")
"""


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, str]:
    """Rows and notes of a sweep on two declared GPUs, the method installed as a package."""
    folder = tmp_path_factory.mktemp("greedy")
    (folder / "greedy.py").write_text(GREEDY)
    metadata = folder / "greedy-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: greedy\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[rayci.interventions]\ngreedy = greedy:Greedy\n")
    (folder / "greedy.yaml").write_text(SPEC)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", SCRIPT, "greedy.yaml", "run"]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return table.read(folder / "run").frame.set_index("chain"), done.stdout


def test_a_larger_share_after_out_of_memory(grown: tuple[pd.DataFrame, str]) -> None:
    frame, notes = grown
    assert frame.loc["greedy{needs_gpus=0.25}", "status"] == "ok"
    assert frame.loc["greedy{needs_gpus=1.0}", "status"] == "ok"
    assert frame.loc["greedy{needs_gpus=1.0} > rtn@4", "status"] == "ok"
    assert notes.count("greedy{needs_gpus=1.0}: ") == 2  # a quarter and a half did not do, a whole one did
    assert notes.count("greedy{needs_gpus=4.0}: ") == 3  # nor did a whole one, and two are all that a node has


def test_the_largest_share_is_the_last_try(grown: tuple[pd.DataFrame, str]) -> None:
    frame, _ = grown
    assert frame.loc["greedy{needs_gpus=4.0}", "status"] == "failed"
    reason = frame.loc["greedy{needs_gpus=4.0}", "reason"]
    assert reason.startswith("out of memory, and no node has more: ") and "allocate memory" in reason
    assert frame.loc["greedy{needs_gpus=4.0} > rtn@4", "status"] == "skipped"
