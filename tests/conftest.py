"""What tests of several folders need."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import typer

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


def pytest_sessionstart() -> None:
    """Build the command line once, as every process of its own does."""
    typer.main.get_command = cache(typer.main.get_command)


@pytest.fixture(scope="session", autouse=True)
def _shipped_checkpoint_is_examined_once() -> None:
    """For the first of the hundreds of sweeps that tests open on it; it is the same for all."""
    if "torch" not in sys.modules:  # nothing that is tested opens a sweep
        return
    from rayci.model.folder import TESTBED
    from rayci.planning.faults import Examination

    examine, known = Examination.fetched, list[Examination]()

    def fetched(self: Examination) -> Examination:
        if self.spec.model != TESTBED or self.spec.modules:
            return examine(self)
        if not known:
            known.append(examine(self))
        return replace(self, folder=known[0].folder, subject=known[0].subject)

    Examination.fetched = fetched  # type: ignore[method-assign]


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
