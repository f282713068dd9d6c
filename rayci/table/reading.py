"""Reading the table of one run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rayci import item_values
from rayci.errors import CorruptionError, RequestError
from rayci.storage import entries
from rayci.storage.compaction import files_of
from rayci.storage.sealed import File, each
from rayci.storage.user_paths import path_of
from rayci.table.checks import broken_cells
from rayci.table.merging import Conflict, merged, merged_scales
from rayci.table.part_file import Part, open_part, refuse_broken
from rayci.table.result_table import ResultTable, remedy
from rayci.table.row_codes import in_order
from rayci.table.schema import KEY, ORDER, RUN_FILE


def read(path: Path | str) -> ResultTable:
    """Read a part, a folder of one sweep's parts, or a run folder that holds `table/`.

    A row that stands in two files counts once. Raises RequestError where there is no table; CorruptionError where a
    part is damaged, or where two contradict each other, with their names.
    """
    source = path_of(path)
    folder = source / "table" if (source / "table").is_dir() else source
    files = [folder] if folder.is_file() else files_of(folder)
    if not files:
        raise RequestError(
            f"no result table at {source}",
            allowed="a run folder, a folder of Parquet parts, or one part",
            hint="rayci run SPEC, or rayci status RUN to see what has been computed",
        )
    try:
        table = _read(files, source / RUN_FILE)
    except CorruptionError:
        if all(file.exists() for file in files):
            raise
        return read(path)  # the run ended meanwhile, and its parts were brought into one file
    items = item_values.files(folder.parent if folder.name == "table" else folder)
    return replace(table, item_files=items)


def _read(files: Sequence[File], run: File) -> ResultTable:
    with remedy():
        parts = each(files, open_part)
        refuse_others(parts, run)
        return joined(parts)


def write_joined(files: Sequence[Path], path: Path) -> None:
    """Write the rows of these parts of one sweep as one file; CorruptionError where one is damaged, or two differ."""
    joined(each(files, open_part)).write(path)


def joined(parts: Sequence[Part]) -> ResultTable:
    """The table that opened parts of one sweep make; CorruptionError where one breaks the contract, or two differ."""
    for part in parts:
        if part.sweep != parts[0].sweep:
            raise CorruptionError(f"{parts[0].path} and {part.path} are of different sweeps")
    try:
        scales = merged_scales({str(part.path): part.scales for part in parts})
        rows = merged({str(part.path): part.rows for part in parts}, KEY)
    except Conflict as conflict:
        raise CorruptionError(str(conflict)) from None
    if broken_cells(rows) or Part(parts[0].path, rows, scales).problems:
        for part in parts:  # checked together, which is faster; one by one where that finds something
            refuse_broken(part)
    return ResultTable(in_order(rows, ORDER), scales)


def refuse_others(parts: Iterable[Part], run: File) -> None:
    """CorruptionError where a part is of another sweep than the run's file says; nothing where that is lost."""
    try:
        sweep = entries.read(run)["fingerprint"]
    except (CorruptionError, KeyError):
        return
    for part in parts:
        if part.sweep != sweep:
            raise CorruptionError(f"{part.path} is of another sweep than {run}")
