"""The results where workers write them: parts of the table and of the items, by stage, in a folder or at a URL."""

from __future__ import annotations

import io
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rayci import item_values, table
from rayci.errors import CorruptionError
from rayci.fingerprint import fingerprint
from rayci.item_values import ItemRow
from rayci.kinds import Scale
from rayci.storage import compaction, sealed
from rayci.storage.atomic import replacing
from rayci.storage.compaction import COMPACTED, READING, by_stage, files_of, stage_of
from rayci.storage.files import LocalFiles, open_files
from rayci.table import Row

ROWS, ITEMS = "table", item_values.FOLDER
_FOLDERS = (ITEMS, ROWS)
"""In the order in which they are written: a stage that has its rows has its items."""

ReadingKey = tuple[str, int | None]
"""Fingerprint of the criterion, and the replicate."""


def readings_in(rows: pa.Table) -> set[ReadingKey]:
    """The readings that a table has rows of."""
    return set(zip(*(rows.column(name).to_pylist() for name in READING[1:]), strict=True))


class Parts:
    """Part files named by stage fingerprint. What is there is never written again: readings that a stage gets later,
    for a criterion that was added, stand in a file beside, named by what it holds."""

    def __init__(self, root: Path | str) -> None:
        """`root`: the run folder, or another place that holds `table/` and `items/`."""
        self._files = open_files(root)

    @staticmethod
    def name(stage: str, added: Iterable[ReadingKey] = ()) -> str:
        """The file name of a stage's parts; of readings that were `added` to others, that of theirs."""
        which = sorted((criterion, -1 if replicate is None else replicate) for criterion, replicate in added)
        return f"{stage}.{fingerprint(which)[:12]}.parquet" if which else f"{stage}.parquet"

    def held(self, stage: str) -> frozenset[ReadingKey]:
        """Which readings of a stage have their rows."""
        # A worker that died may have written the first file since the others were listed.
        tables = [self._readings(name) for name in {self.name(stage), *self._names.get(stage, ())}]
        tables.append(self._compacted.get(stage))
        return frozenset[ReadingKey]().union(*(readings_in(rows) for rows in tables if rows is not None))

    def _readings(self, name: str) -> pa.Table | None:
        """Columns `READING` of a file; None where there is none that can be read."""
        data = self._files.read(f"{ROWS}/{name}")
        try:
            return None if data is None else pq.read_table(io.BytesIO(data), columns=list(READING))
        except (pa.ArrowException, OSError):
            return None

    @cached_property
    def _names(self) -> Mapping[str, list[str]]:
        """Stage -> names of the files that it had when first asked."""
        names = defaultdict(list)
        for name in self._files.listing(ROWS):
            if name.endswith(".parquet") and not name.startswith("."):
                names[stage_of(name)].append(name)
        return names

    @cached_property
    def _compacted(self) -> Mapping[str, pa.Table]:
        """Stage -> readings in the run folder's compacted file; it does not grow while there are workers."""
        path = self._files.root / ROWS / COMPACTED if isinstance(self._files, LocalFiles) else None
        try:
            return {} if path is None or not path.is_file() else by_stage(sealed.read(path, READING))
        except CorruptionError:
            return {}

    def write(
        self,
        stage: str,
        rows: Sequence[Row],
        scales: Mapping[str, Scale],
        items: Sequence[ItemRow],
        *,
        beside: bool = False,
    ) -> None:
        """Write the items and the rows of a stage, or `beside` them further ones, unless they are there already.

        Raises StorageError where that is not possible.
        """
        name = self.name(stage, ((row.criterion_fingerprint, row.replicate) for row in rows) if beside else ())
        if not self._files.exists(f"{ROWS}/{name}"):
            self._write(f"{ITEMS}/{name}", lambda path: item_values.write(items, path))
            self._write(f"{ROWS}/{name}", lambda path: table.write_part(rows, scales, path))

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
                for name in self._files.listing(folder):
                    if stage_of(name) in stages:
                        self._files.delete(f"{folder}/{name}")

    def delete(self, name: str) -> None:
        """Delete a file of rows and that of their items."""
        for folder in reversed(_FOLDERS):
            self._files.delete(f"{folder}/{name}")

    def drop(self, readings: Mapping[str, Collection[ReadingKey]]) -> None:
        """Delete single readings, by stage, so that they are taken again; all other rows stay as they are."""
        unwanted = {(stage, *reading) for stage, own in readings.items() for reading in own}
        for folder in reversed(_FOLDERS):
            if isinstance(self._files, LocalFiles):
                for path in files_of(self._files.root / folder):
                    if path.name == COMPACTED or stage_of(path.name) in readings:
                        compaction.thin(path, unwanted)
            else:
                for name in self._files.listing(folder):
                    if stage_of(name) in readings:
                        self._thin(f"{folder}/{name}", unwanted)

    def _thin(self, name: str, unwanted: Collection[tuple[str, str, int | None]]) -> None:
        """The same for a file at a URL."""
        with tempfile.TemporaryDirectory(prefix="rayci-") as place:
            path = Path(place) / "part.parquet"
            path.write_bytes(self._files.read(name) or b"")
            compaction.thin(path, unwanted)
            if path.exists():
                self._files.write(name, path.read_bytes())
            else:
                self._files.delete(name)

    def fetch(self, stages: Collection[str], root: Path) -> None:
        """Copy the parts of these stages that `root` lacks into it."""
        here = compaction.stages_in(root / ROWS)
        for name in self._files.listing(ROWS):
            stage = stage_of(name)
            if stage in stages and not (stage in here and name == self.name(stage)):  # which may be compacted there
                for folder in _FOLDERS:
                    self._copy(f"{folder}/{name}", root)

    def _copy(self, name: str, root: Path) -> None:
        if not (root / name).is_file() and (data := self._files.read(name)) is not None:
            with replacing(root / name) as temporary:
                temporary.write_bytes(data)
