"""A run of llm-compressor in its own environment, which `make test-oracle` builds."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

PYTHON = Path(__file__).parents[2] / ".venv-oracle" / "bin" / "python"


@dataclass(frozen=True)
class Compressed:
    """What it took."""

    seconds: float
    peak: int | None
    """The most bytes of tensors on a GPU, the model's included."""


def compress(
    folder: Path,
    tokens: Tensor,
    method: str,
    scratch: Path,
    *,
    device: str = "cpu",
    batch: int = 1,
    out: Path | None = None,
) -> Compressed:
    """Compress the model of a folder, `batch` sequences at a time; its weights go to `out`, where that is given."""
    save_file({"tokens": tokens}, scratch / "tokens.safetensors")
    script = Path(__file__).with_name("compress.py")
    given = [folder, scratch / "tokens.safetensors", method, device, batch, *([out] if out else [])]
    command = [str(PYTHON), str(script), *map(str, given)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = dict(line.split() for line in done.stdout.splitlines() if line.startswith(("seconds ", "peak ")))
    return Compressed(float(said["seconds"]), int(said["peak"]) if "peak" in said else None)
