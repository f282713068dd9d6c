"""Parts brought into one file again and again while workers write and somebody reads: nothing is lost or doubled."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

from rayci import table
from rayci.storage.compaction import COMPACTED, compact, files_of

from .test_compaction import rows_of, write_rows

WRITERS, STAGES = 3, 40


def write(folder: Path, writer: int) -> None:
    for number in range(STAGES):
        write_rows(folder, f"{writer}-{number:02}", value=float(number))
        time.sleep(0.005)


def gather(folder: Path, writing: Callable[[], bool]) -> list[int]:
    """Compact and read until nobody writes any more; how many rows were found each time."""
    counts = []
    while writing():
        compact(folder, table.write_joined)
        counts.append(rows_of(folder).num_rows if files_of(folder) else 0)
    return counts


def test_parts_are_compacted_while_workers_write(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("spawn")
    writers = [fork.Process(target=write, args=(tmp_path, number)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    counts = gather(tmp_path, lambda: any(writer.is_alive() for writer in writers))
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    assert counts == sorted(counts), "what was there once is there for ever"
    assert len({count for count in counts if 0 < count < 2 * WRITERS * STAGES}) > 2, "not while they wrote"
    rows = rows_of(tmp_path).to_pandas()
    wanted = {(f"{writer}-{number:02}", float(number)) for writer in range(WRITERS) for number in range(STAGES)}
    assert set(zip(rows.stage_fingerprint, rows.value, strict=True)) == wanted and len(rows) == 2 * len(wanted)
    compact(tmp_path, table.write_joined)
    assert [path.name for path in files_of(tmp_path)] == [COMPACTED] and len(rows_of(tmp_path)) == len(rows)
