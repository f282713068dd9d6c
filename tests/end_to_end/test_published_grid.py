"""The published spec from end to end, cut to two γ and ten edits: real schemas, a real architecture, every method."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from rayci import table
from rayci.trials.asked_spec import read_spec
from tests.end_to_end.published_inputs import write_data, write_model

CUT = (
    "replicates=1",
    "edit_batch=10",
    "dtype=float32",  # a CPU's
    "interventions.wanda.sparsity.sweep=[0.25, 0.55]",
    "interventions.sparsegpt.sparsity.sweep=[0.25, 0.55]",
    "interventions.gptq.bits.sweep=[3, 8]",
    "interventions.awq.bits.sweep=[3, 8]",
    "resources={cpus: 1, threads: 1}",
)
FEW = ("memit > wanda@0.25", "wanda@0.55 > gd", "rmu > gptq@3", "awq@8 > lora", "ft > sparsegpt@0.25", "ga")
"""Every method, each kind first and last."""
SHORT = ("interventions.rmu.max_batches=20", "interventions.lora.steps=35")
"""The two longest, cut for the tests that run every time."""


def run(folder: Path, *options: str) -> Path:
    """Run the cut spec in a process of its own, with the variables of a machine that reaches no hub."""
    settings = _each("--set", (f"model={write_model(folder / 'model')}", *CUT))
    variables = {"RAYCI_DATA": str(write_data(folder / "downloads")), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "rayci", "run", "published_llama3_8b", "--out", "run", *settings, *options]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


def _each(option: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def held(folder: Path) -> None:
    """Every stage has a value of every criterion of the spec, and the report names them all."""
    frame = table.read(folder).frame
    asked = set(read_spec("published_llama3_8b")[0].criteria)
    assert set(frame["criterion"]) == asked
    assert set(frame["status"]) == {"ok"} and frame["value"].notna().all()
    page = (folder / "report.html").read_text()
    assert all(criterion in page for criterion in asked)


def test_every_method_and_every_criterion_of_the_published_spec(tmp_path: Path) -> None:
    folder = run(tmp_path, *_each("--only", FEW), *_each("--set", SHORT))
    held(folder)
    frame = table.read(folder).frame
    assert set(frame.loc[frame["final"], "composition"]) >= set(FEW)


@pytest.mark.slow
def test_the_whole_grid(tmp_path: Path) -> None:
    held(run(tmp_path))
