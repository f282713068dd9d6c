"""Equality with the hqq package, in its own environment: `make test-oracle`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from rayci.interventions.compression.hqq import HalfQuadratic
from tests.interventions.test_hqq import heavy_tailed
from tests.oracle.llmcompressor_run import PYTHON

GROUP = 64

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(not PYTHON.exists(), reason="make test-oracle builds hqq's environment"),
]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_same_as_the_package(bits: int, tmp_path: Path) -> None:
    weight = heavy_tailed(256, 512)
    save_file({"weight": weight}, tmp_path / "weight.safetensors")
    script = Path(__file__).with_name("hqq_round.py")
    files = [tmp_path / "weight.safetensors", bits, GROUP, tmp_path / "out.safetensors"]
    done = subprocess.run([PYTHON, script, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = load_file(tmp_path / "out.safetensors")
    ours = HalfQuadratic(bits=bits).grid(weight, GROUP)
    assert ours.zero is not None
    same = (ours.codes(weight).view_as(theirs["codes"]) == theirs["codes"]).float().mean()
    assert same > 0.9999
    assert ours.scale.flatten().allclose(theirs["scale"].flatten())
    # Whether an iteration is the last is decided by the last bit of a mean.
    assert ours.zero.flatten().isclose(theirs["zero"].flatten(), rtol=1e-5, atol=1e-5).float().mean() > 0.99
