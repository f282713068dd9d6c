"""What tests of several folders need."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chromium import chromium as chromium

# One thread a process, before torch and numpy are loaded: two test processes share two cores, and sums
# are added in one order on every machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """Spare the collector what stays until the end: modules and thousands of tests, which it would walk at every turn.

    Most of the time of a test in which memory runs out, which asks for a full collection every time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB, with a file system of its own."""
    place = tmp_path / "tiny"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
