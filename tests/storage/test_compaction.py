"""Many files of a folder brought into one, and a process that is killed at any instant of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayci import item_values, table
from rayci.errors import CorruptionError
from rayci.item_values import ItemRow, Items
from rayci.storage import compaction, sealed
from rayci.storage.compaction import COMPACTED, by_stage, compact, remove, stages_in
from rayci.table import gathering, part_file, reading
from tests.test_table import ROW, SCALES

STAGES = ("a", "b", "c")


def write_rows(folder: Path, stage: str, value: float = 0.5) -> None:
    rows = [replace(ROW, stage_fingerprint=stage, criterion=name, value=value) for name in ("mmlu", "wmdp")]
    table.write_part(rows, {**SCALES, "wmdp": SCALES["mmlu"]}, folder / f"{stage}.parquet")


def write_items(folder: Path, stage: str) -> None:
    items = ItemRow(
        stage_fingerprint=stage, criterion="mmlu", criterion_fingerprint="c", replicate=None, seed=None,
        item="question", items=Items((1.0, 0.0)),
    )  # fmt: skip
    item_values.write([items], folder / f"{stage}.parquet")


def rows_of(folder: Path) -> pa.Table:
    return table.read(folder).arrow


def items_of(folder: Path) -> pa.Table:
    rows = item_values.read(compaction.files_of(folder))
    assert rows is not None
    return rows.sort_by("stage_fingerprint")


def compact_rows(folder: Path) -> None:
    compact(folder, table.write_joined)


def compact_items(folder: Path) -> None:
    compact(folder, lambda files, path: sealed.write(item_values.read(files), path))


KINDS = {"rows": (write_rows, rows_of, compact_rows), "items": (write_items, items_of, compact_items)}


class Killed(BaseException):
    """The process is gone: nothing runs any more, not what tidies up either."""


def kill_after(operations: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this many operations on files be done, and none after them."""
    left = [operations]

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return operation(*arguments, **options)

        return run

    for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync"), (pq, "write_table")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_instant_and_compacted_again(kind: str, tmp_path: Path) -> None:
    write, read, shorten = KINDS[kind]
    for stage in STAGES[:2]:
        write(tmp_path / "calm", stage)
    shorten(tmp_path / "calm")
    write(tmp_path / "calm", "c")  # of a run that went on after it was compacted
    expected = read(tmp_path / "calm")
    for operations in range(20):
        folder = Path(shutil.copytree(tmp_path / "calm", tmp_path / f"{operations}"))
        with pytest.MonkeyPatch.context() as patch:
            kill_after(operations, patch)
            try:
                shorten(folder)
                ended = True
            except Killed:
                ended = False
        assert read(folder).equals(expected) and stages_in(folder) == set(STAGES)
        shorten(folder)
        assert read(folder).equals(expected)
        assert [path.name for path in compaction.files_of(folder)] == [COMPACTED]
        if ended:
            assert operations > 4
            return
    pytest.fail("it never ended")


def test_what_cannot_be_read_back_costs_nothing(tmp_path: Path) -> None:
    for stage in STAGES:
        write_rows(tmp_path, stage)
    expected = rows_of(tmp_path)

    def write(files: Sequence[Path], path: Path) -> None:
        table.write_joined(files, path)
        path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(CorruptionError, match=COMPACTED):
        compact(tmp_path, write)
    (tmp_path / COMPACTED).unlink()
    assert rows_of(tmp_path).equals(expected)


def test_stages_are_removed_wherever_they_lie(tmp_path: Path) -> None:
    for stage in STAGES:
        write_rows(tmp_path, stage)
    compact_rows(tmp_path)
    write_rows(tmp_path, "b")
    remove(tmp_path, ["b", "unknown"])
    assert stages_in(tmp_path) == {"a", "c"}
    assert set(rows_of(tmp_path).column("stage_fingerprint").to_pylist()) == {"a", "c"}
    write_rows(tmp_path, "b", 0.75)
    assert set(rows_of(tmp_path).column("value").to_pylist()) == {0.5, 0.75}
    remove(tmp_path, STAGES)
    assert list(tmp_path.iterdir()) == []


def test_the_rows_of_each_stage(tmp_path: Path) -> None:
    for stage in STAGES:
        write_rows(tmp_path, stage)
    rows = rows_of(tmp_path)
    parts = by_stage(rows.take([5, 0, 1, 2, 4, 3]))
    assert list(parts) == ["c", "a", "b"]
    assert all(part.column("stage_fingerprint").to_pylist() == [stage] * 2 for stage, part in parts.items())


READERS: dict[ModuleType, Callable[[Path], pa.Table]] = {
    reading: lambda run: table.read(run).arrow,
    gathering: lambda run: table.merge(table.gather(run)).arrow,
}


@pytest.mark.parametrize("module", READERS)
def test_a_reader_is_not_disturbed(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends, and is compacted, while somebody reads its parts."""
    for stage in STAGES:
        write_rows(tmp_path / "table", stage)
    expected, opened = READERS[module](tmp_path), part_file.open_part

    def open_late(path: Path) -> table.Part:
        if not (tmp_path / "table" / COMPACTED).exists():
            monkeypatch.undo()
            compact_rows(tmp_path / "table")
        return opened(path)

    monkeypatch.setattr(module, "open_part", open_late)
    assert READERS[module](tmp_path).equals(expected)


def test_items_are_found_though_their_files_were_compacted(tmp_path: Path) -> None:
    for stage in STAGES:
        write_rows(tmp_path / "table", stage)
        write_items(tmp_path / "items", stage)
    held, expected = table.read(tmp_path), items_of(tmp_path / "items")
    compact_items(tmp_path / "items")
    assert held.item_values is not None
    assert held.item_values.sort_by("stage_fingerprint").equals(expected)
    (tmp_path / "items" / COMPACTED).unlink()
    assert table.read(tmp_path).item_values is None
