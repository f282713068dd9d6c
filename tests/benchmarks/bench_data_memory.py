"""Memory of a process, beyond pages of files, with 200 MB of calibration text: mapped, and as Python objects.

pytest tests/benchmarks/bench_data_memory.py -m bench --capture=no
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.bench
SIZE = 200_000_000
CODE = """\
import sys, time
import pyarrow
from rayci.data import collect
from rayci.data.mapped_documents import fingerprint_of

sys.modules["rayci.data.supply"].MAPPED_FROM = int(sys.argv[2])

def anonymous():
    with open("/proc/self/smaps_rollup") as stream:
        return next(int(line.split()[1]) * 1024 for line in stream if line.startswith("Anonymous:"))

before, start = anonymous(), time.perf_counter()
data = collect({"calibration": sys.argv[1]}, "testbed")
digest = fingerprint_of(data.calibration)
seconds = time.perf_counter() - start
print(anonymous() - before, seconds, digest, len(data.calibration))
"""


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """JSON Lines of 500 characters a document."""
    draw, path, written = random.Random(0), tmp_path / "text.jsonl", 0
    with path.open("w") as stream:
        while written < SIZE:
            words = " ".join(f"{draw.getrandbits(24):x}" for _ in range(70))
            written += stream.write(json.dumps({"text": words}) + "\n")
    return path


def held(text: Path, mapped_from: int) -> tuple[int, float, str, str]:
    command = [sys.executable, "-c", CODE, str(text), str(mapped_from)]
    environment = {**os.environ, "RAYCI_CACHE": str(text.parent / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    size, seconds, *rest = done.stdout.split()
    return int(size), float(seconds), rest[0], rest[1]


def test_memory_and_start(text: Path) -> None:
    size = text.stat().st_size
    objects, first, later = held(text, 1 << 60), held(text, 1), held(text, 1)
    assert objects[2:] == first[2:] == later[2:]
    for what, (bytes_, seconds, *_) in {"objects": objects, "first mapped": first, "later mapped": later}.items():
        print(
            f"\n{what}: {bytes_ / size:.2f} of the file in memory of its own, {seconds:.1f} s to read and identify it"
        )
    assert later[0] < size / 20
