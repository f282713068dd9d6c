"""Where result tables lie: a file, a run folder, a folder of runs, a glob, a URL; and a list of these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayci.errors import RequestError
from rayci.item_values import FOLDER as ITEMS
from rayci.storage.sealed import File
from rayci.storage.urls import UrlFile, answering, connect, scheme
from rayci.storage.user_paths import path_of
from rayci.table.schema import RUN_FILE

ROWS = "table"
"""In a run folder, the folder of the rows."""

_GLOB = set("*?[")

Source = Path | str | Sequence[Path | str]
"""One place, or several."""


@dataclass(frozen=True)
class Place:
    """One table: a run's, or what stands in a folder or a file of its own."""

    name: str
    files: tuple[File, ...]
    items: tuple[File, ...] = ()
    run: File | None = None
    """What says which sweep it is; None where it is no run's, so that anybody may have written it."""


def places(source: Source) -> list[Place]:
    """Every place that is meant, at least one; RequestError for one that holds no table."""
    return [place for each in several(source) for place in _Tree.of(str(each)).places()]


def several(source: Source) -> list[Path | str]:
    """The places of a source one by one, at least one; RequestError for what names none."""
    sources = [source] if isinstance(source, (str, Path)) else source
    if not isinstance(sources, Sequence) or not all(isinstance(each, (str, Path)) for each in sources):
        raise RequestError(f"no result table: {source!r} is no place", allowed=_ALLOWED)
    if not sources:
        raise RequestError("no result table: the list is empty", allowed=_ALLOWED)
    return list(sources)


_ALLOWED = "a run folder, a folder of runs, a Parquet file, a glob, a URL of these, or a list"


@dataclass(frozen=True)
class _Tree:
    """A place in a file system, local or at a URL."""

    system: Any
    """What fsspec reads it with."""
    root: str
    shown: str
    """What is to stand before a path of the system, for people and for fsspec."""

    @classmethod
    def of(cls, text: str) -> _Tree:
        kind = scheme(text) if "://" in text else "file"
        if kind not in ("file", "local"):
            system, root = connect(text)
            return cls(system, root.rstrip("/"), f"{kind}://")
        from fsspec.implementations.local import LocalFileSystem

        return cls(LocalFileSystem(), str(path_of(text.removeprefix(f"{kind}://"))), "")

    def places(self) -> list[Place]:
        with answering(f"{self.shown}{self.root}"):
            meant = [self.root]
            if _GLOB & set(self.root) and not self.system.exists(self.root):
                meant = [path for path in sorted(self.system.glob(self.root)) if self._may_hold(path)]
            tables = [place for path in meant for place in self._at(path)]
        if not tables:
            raise RequestError(
                f"no result table at {self.shown}{self.root}",
                allowed=_ALLOWED,
                hint="rayci run SPEC, or rayci status RUN to see what has been computed",
            )
        return tables

    def _may_hold(self, path: str) -> bool:
        """Whether what a glob found is worth a look: notes that lie between runs are not."""
        return path.endswith(".parquet") or self.system.isdir(path)

    def _at(self, path: str) -> list[Place]:
        """The tables at a path: of a run folder one, of a folder of runs those of its runs."""
        if self.system.isfile(path):
            return [Place(f"{self.shown}{path}", (self._file(path),))]
        here = self._folder(path)
        if here is not None:
            return [here]
        inner = sorted(name for name in self._names(path) if self.system.isdir(name))
        return [place for name in inner if (place := self._folder(name)) is not None]

    def _folder(self, path: str) -> Place | None:
        """The table of a run folder, of its folder of rows, or of a folder of files; None where there is none."""
        run, rows = path, f"{path}/{ROWS}"
        if not self.system.isdir(rows):
            run, rows = path.removesuffix(f"/{ROWS}"), path
        files, items = self._parquet(rows), self._parquet(f"{run}/{ITEMS}")
        entry = self._file(f"{run}/{RUN_FILE}") if rows.endswith(f"/{ROWS}") else None
        return Place(f"{self.shown}{path}", files, items, entry) if files else None

    def _parquet(self, path: str) -> tuple[File, ...]:
        """The Parquet files of a folder, those left out that are still being written."""
        names = [name for name in self._names(path) if name.endswith(".parquet")]
        return tuple(self._file(name) for name in sorted(names) if not name.rsplit("/", 1)[-1].startswith("."))

    def _names(self, path: str) -> Iterable[str]:
        try:
            return [str(name).rstrip("/") for name in self.system.ls(path, detail=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _file(self, path: str) -> File:
        return UrlFile(f"{self.shown}{path}", self.system, path) if self.shown else Path(path)
