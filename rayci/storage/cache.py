"""A node's copies of remote files: named by their sha256, shared by all its workers, bounded in size.

While a file is on its way, `<digest>.<bytes>.partial` is at once the data so far, the reservation of
its size and, under `flock`, the lock that makes other workers wait instead of downloading it too;
the kernel drops the lock of a process that dies. A removed file stays readable to who has it open.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from rayci.errors import CorruptionError
from rayci.fingerprint import hash_file
from rayci.storage.atomic import no_full_disk
from rayci.storage.prepared import node_folder

Write = Callable[[Path], object]
"""Called with a path to fill with a file's content."""


class Checked:
    """Files found to have their sha256. A file that was not touched since is not read again."""

    def __init__(self) -> None:
        self._known: set[tuple[int, int, int, str]] = set()

    def __call__(self, path: Path, digest: str) -> bool:
        """Whether the file has this sha256; FileNotFoundError where it is gone."""
        status = path.stat()
        key = (status.st_ino, status.st_size, status.st_mtime_ns, digest)
        if key not in self._known and hash_file(path) == digest:
            self._known.add(key)
        return key in self._known

    def digest(self, path: Path) -> str:
        """The sha256 of a file that was just written; renaming it does not touch it."""
        digest = hash_file(path)
        status = path.stat()
        self._known.add((status.st_ino, status.st_size, status.st_mtime_ns, digest))
        return digest


class Cache:
    """Files in one folder of this node, least recently used ones removed first.

    `limit` in bytes, by default half of the disk. A file larger than that is alone in the cache.
    """

    def __init__(self, root: Path | None = None, limit: int | None = None) -> None:
        self.root = root or node_folder()
        self.root.mkdir(parents=True, exist_ok=True)
        self._limit = limit or shutil.disk_usage(self.root).total // 2
        self._checked = Checked()

    def get(self, digest: str, size: int, download: Write) -> Path:
        """The file with this sha256, downloaded by at most one worker of the node at a time.

        Raises CorruptionError where the download has another sha256, and what `download` raises.
        """
        path = self._path(digest)
        with suppress(FileNotFoundError):
            if self._checked(path, digest):
                _used_now(path)
                return path
            path.unlink()  # damaged here, not at its source
        with self._partial(digest, size) as partial:
            if not path.is_file():  # another worker may have been faster
                self._make_room(size)
                download(partial)
                if not self._checked(partial, digest):
                    raise CorruptionError(f"its sha256 is not {digest[:12]}…")
                partial.replace(path)
        return path

    def add(self, name: str, size: int, write: Write, publish: Write) -> str:
        """Write a file here and `publish` it from here; it stays as a copy. Returns its sha256."""
        with self._partial(name, size) as partial:
            self._make_room(size)
            write(partial)
            digest = self._checked.digest(partial)
            publish(partial)
            partial.replace(self._path(digest))
        return digest

    def _path(self, digest: str) -> Path:
        return self.root / f"{digest}.safetensors"

    @contextmanager
    def _partial(self, name: str, size: int) -> Iterator[Path]:
        """A file to fill that no other process fills; nothing is left of it afterwards."""
        self.root.mkdir(parents=True, exist_ok=True)  # who tidies a temporary folder may delete it
        partial = self.root / f"{name}.{size}.partial"
        with no_full_disk(partial), _locked(partial):
            try:
                yield partial
            finally:
                partial.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        """Remove what was used least recently until `size` bytes, counted already as a partial file, fit in."""
        with _locked(self.root / ".lock"):
            held = sorted(_held(self.root))
            total = sum(bytes_ for _, bytes_, _ in held)
            for _, bytes_, path in held:
                if total <= self._limit:
                    return
                if path.suffix != ".partial" or _abandoned(path):
                    path.unlink(missing_ok=True)
                    total -= bytes_


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    while True:
        with path.open("ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if _is_at(stream, path):
                yield
                return


def _held(root: Path) -> Iterator[tuple[float, int, Path]]:
    """(last use, bytes, path) of every file; a partial file counts with the size that it will have."""
    for path in root.iterdir():
        if path.suffix in (".partial", ".safetensors"):
            with suppress(FileNotFoundError):
                status = path.stat()
                size = int(path.name.split(".")[-2]) if path.suffix == ".partial" else status.st_size
                yield status.st_atime, size, path


def _abandoned(partial: Path) -> bool:
    with suppress(FileNotFoundError), partial.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _is_at(stream: BinaryIO, path: Path) -> bool:
    """Whether the locked file still has its name; who held the lock before may have moved it."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _used_now(path: Path) -> None:
    # Set by hand: many systems are mounted so that reading does not. The other time must stay, see `Checked`.
    with suppress(OSError):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
