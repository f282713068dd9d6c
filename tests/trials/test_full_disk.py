"""No room for the table: one clear error, no row that blames the trial, and the same command continues."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayci import table

from .conftest import comparable
from .test_killed import LIMIT, check, finish, parts, start

pytestmark = pytest.mark.chaos


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of 160 KiB; a run folder lies on it."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("store", ["beside", "elsewhere"])
def test_the_disk_of_the_table_is_full(
    store: str, ten_trials: Path, undisturbed: Path, small_disk: Path, tmp_path: Path
) -> None:
    run = small_disk / "run"
    more = [] if store == "beside" else ["--store", str(tmp_path / "store")]
    if store == "beside":
        text = (process := start(ten_trials, run)).communicate(timeout=LIMIT)[0]
        assert process.returncode == 2 and "disk on this machine" in text and "--store-limit" in text, text
        assert not run.exists()
    process = start(ten_trials, run, *more, "--no-preflight")  # others may fill a disk that was free
    text = process.communicate(timeout=LIMIT)[0]
    assert process.returncode == 1, text
    assert text.count("error:") == 1 and "no space left on the disk" in text and "Traceback" not in text, text
    assert len(parts(run)) < len(parts(undisturbed))
    if parts(run):
        assert set(table.read(run).frame["status"]) == {"ok"}
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    kept = {path: path.stat().st_mtime_ns for path in parts(run)}
    finish(ten_trials, run, *more)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    check(run, undisturbed)
    assert set(comparable(run)["status"]) == {"ok"}
