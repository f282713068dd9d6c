"""nf4 against bitsandbytes' CPU path, in its own environment: `make test-oracle`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from rayci.interventions.compression.number_formats import FORMATS
from tests.interventions.surgery import random
from tests.oracle.llmcompressor_run import PYTHON

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(not PYTHON.exists(), reason="make test-oracle builds bitsandbytes' environment"),
]


@pytest.mark.parametrize("block", [64, 128])
def test_same_as_bitsandbytes(block: int, tmp_path: Path) -> None:
    weight = random(256, 512, 0)
    save_file({"weight": weight}, tmp_path / "weight.safetensors")
    script = Path(__file__).with_name("nf4_round.py")
    files = [tmp_path / "weight.safetensors", block, tmp_path / "out.safetensors"]
    done = subprocess.run([PYTHON, script, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = load_file(tmp_path / "out.safetensors")
    ours = FORMATS["nf4"].lay(weight, block)
    assert ours.scale.flatten().equal(theirs["largest"].flatten())
    # They multiply by 1/max|w|, which may round to the other side of a middle.
    same = (ours.round(weight) == theirs["values"]).double().mean()
    assert same > 0.99999
