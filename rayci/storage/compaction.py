"""A folder of sealed files, one or a few a stage, brought into one file that holds them all.

A stage's first file is named `<stage>.parquet`; one with readings that were added later `<stage>.<which>.parquet`.

That file appears whole, and is read back before any file is deleted whose rows it holds. A process that is killed on
the way leaves rows in both, never in none: readers count equal rows once, and the next compaction ends the work.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rayci.errors import CorruptionError
from rayci.storage import sealed

COMPACTED = "compacted.parquet"
"""Name of the file that holds many stages; the others are named by their stage."""

_STAGE = "stage_fingerprint"
READING = (_STAGE, "criterion_fingerprint", "replicate")
"""Columns that tell readings apart."""


def files_of(folder: Path) -> list[Path]:
    """The files of a folder, the compacted one first; those left out that are still being written."""
    return sorted(folder.glob("[!.]*.parquet"), key=lambda path: (path.name != COMPACTED, path.name))


def stage_of(name: str) -> str:
    """The stage that a file is named by."""
    return name.partition(".")[0]


def files_by_stage(folder: Path) -> Counter[str]:
    """In how many files a folder has rows of a stage; a compacted file that is damaged holds none."""
    stages = Counter(stage_of(path.name) for path in files_of(folder) if path.name != COMPACTED)
    with suppress(CorruptionError):
        stages.update(sealed.read(folder / COMPACTED, [_STAGE]).column(_STAGE).unique().to_pylist())
    return stages


def stages_in(folder: Path) -> set[str]:
    """The stages that a folder has rows of."""
    return set(files_by_stage(folder))


def compact(folder: Path, write: Callable[[Sequence[Path], Path], None]) -> None:
    """Bring all files of a folder into one: `write(files, path)` writes all their rows to the path.

    What workers write meanwhile stays in files of its own; nobody else compacts.
    """
    files, compacted = files_of(folder), folder / COMPACTED
    if files in ([], [compacted]):
        return
    write(files, compacted)
    sealed.read(compacted)
    _flush(folder)  # a power cut must not undo the new file after the old ones are gone
    for path in files:
        if path != compacted:
            path.unlink()


def remove(folder: Path, stages: Collection[str]) -> None:
    """Delete the rows of these stages, wherever they lie in a folder; a compacted file that is damaged stays."""
    if not stages:
        return
    with suppress(CorruptionError):
        _remove_from(folder / COMPACTED, stages)
    for path in files_of(folder):
        if stage_of(path.name) in stages:
            path.unlink()


def thin(path: Path, unwanted: Collection[tuple[str, str, int | None]]) -> None:
    """Delete the rows of these readings, see `READING`; the file goes with its last row."""
    rows = sealed.read(path)
    readings = zip(*(rows.column(name).to_pylist() for name in READING), strict=True)
    kept = rows.filter(pa.array([reading not in unwanted for reading in readings], pa.bool_()))
    if not kept.num_rows:
        path.unlink()
    elif kept.num_rows < rows.num_rows:
        sealed.write(kept, path)


def _remove_from(compacted: Path, stages: Collection[str]) -> None:
    rows = sealed.read(compacted)
    kept = rows.filter(pc.invert(pc.is_in(rows.column(_STAGE), pa.array(list(stages), pa.string()))))
    if not kept.num_rows:
        compacted.unlink()
    elif kept.num_rows < rows.num_rows:
        sealed.write(kept, compacted)


def by_stage(rows: pa.Table) -> dict[str, pa.Table]:
    """The rows of each stage."""
    encoded = rows.column(_STAGE).combine_chunks().dictionary_encode()
    codes: Any = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes))
    grouped = rows.take(pa.array(order)).combine_chunks()
    starts = [0, *ends[:-1].tolist()]
    stages = encoded.dictionary.to_pylist()
    return {
        stage: grouped.slice(start, end - start)
        for stage, start, end in zip(stages, starts, ends.tolist(), strict=True)
    }


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
