"""The results where workers write them: a part of the table and one of the items a stage, in a folder or at a URL."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from rayci import item_values, table
from rayci.item_values import ItemRow
from rayci.kinds import Scale
from rayci.storage import compaction
from rayci.storage.atomic import replacing
from rayci.storage.compaction import stages_in
from rayci.storage.files import LocalFiles, open_files
from rayci.table import Row

ROWS, ITEMS = "table", item_values.FOLDER
_FOLDERS = (ITEMS, ROWS)
"""In the order in which they are written: a stage that has its rows has its items."""


class Parts:
    """Part files named by stage fingerprint, so that a stage has one of each at most."""

    def __init__(self, root: Path | str) -> None:
        """`root`: the run folder, or another place that holds `table/` and `items/`."""
        self._files = open_files(root)

    @staticmethod
    def name(stage: str) -> str:
        """The file name of a stage's parts."""
        return f"{stage}.parquet"

    def has(self, stage: str) -> bool:
        """Whether the stage has its rows."""
        return self._files.exists(f"{ROWS}/{self.name(stage)}") or stage in self._compacted

    @cached_property
    def _compacted(self) -> set[str]:
        """Stages whose rows the run folder's compacted file holds; it does not grow while there are workers."""
        return stages_in(self._files.root / ROWS) if isinstance(self._files, LocalFiles) else set()

    def write(self, stage: str, rows: Sequence[Row], scales: Mapping[str, Scale], items: Sequence[ItemRow]) -> None:
        """Write the items and the rows of a stage; StorageError where that is not possible."""
        self._write(f"{ITEMS}/{self.name(stage)}", lambda path: item_values.write(items, path))
        self._write(f"{ROWS}/{self.name(stage)}", lambda path: table.write_part(rows, scales, path))

    def _write(self, name: str, write: Callable[[Path], None]) -> None:
        if isinstance(self._files, LocalFiles):
            write(self._files.root / name)
            return
        with tempfile.TemporaryDirectory(prefix="rayci-") as folder:
            path = Path(folder) / "part.parquet"
            write(path)
            self._files.write(name, path.read_bytes())

    def remove(self, stages: Collection[str]) -> None:
        """Delete what these stages have, so that it is written again."""
        for folder in reversed(_FOLDERS):
            if isinstance(self._files, LocalFiles):
                compaction.remove(self._files.root / folder, stages)
            else:
                for stage in stages:
                    self._files.delete(f"{folder}/{self.name(stage)}")

    def fetch(self, stages: Iterable[str], root: Path) -> None:
        """Copy the parts of these stages that `root` lacks into it."""
        there = self._files.listing(ROWS)
        for stage in stages:
            if self.name(stage) in there:
                for folder in _FOLDERS:
                    self._copy(f"{folder}/{self.name(stage)}", root)

    def _copy(self, name: str, root: Path) -> None:
        if not (root / name).is_file() and (data := self._files.read(name)) is not None:
            with replacing(root / name) as temporary:
                temporary.write_bytes(data)
