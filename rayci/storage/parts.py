"""The table's part files where workers write them: one a stage, in a folder or at a URL."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rayci import table
from rayci.kinds import Scale
from rayci.storage.atomic import replacing
from rayci.storage.files import LocalFiles, open_files
from rayci.table import Row


class Parts:
    """Part files named by stage fingerprint, so that a stage has one at most."""

    def __init__(self, root: Path | str) -> None:
        self._files = open_files(root)

    @staticmethod
    def name(stage: str) -> str:
        """The file name of a stage's part."""
        return f"{stage}.parquet"

    def has(self, stage: str) -> bool:
        """Whether the stage has its rows."""
        return self._files.exists(self.name(stage))

    def write(self, stage: str, rows: Sequence[Row], scales: Mapping[str, Scale]) -> None:
        """Write the rows of a stage; StorageError where that is not possible."""
        if isinstance(self._files, LocalFiles):
            table.write_part(rows, scales, self._files.root / self.name(stage))
            return
        with tempfile.TemporaryDirectory(prefix="rayci-") as folder:
            path = Path(folder) / self.name(stage)
            table.write_part(rows, scales, path)
            self._files.write(self.name(stage), path.read_bytes())

    def remove(self, stage: str) -> None:
        """Delete a stage's part, so that its rows are written again."""
        self._files.delete(self.name(stage))

    def fetch(self, stages: Sequence[str], folder: Path) -> None:
        """Copy the parts of these stages that `folder` lacks into it."""
        there = self._files.listing("")
        for stage in stages:
            path = folder / self.name(stage)
            if path.name in there and not path.is_file():
                data = self._files.read(path.name)
                if data is not None:
                    with replacing(path) as temporary:
                        temporary.write_bytes(data)
