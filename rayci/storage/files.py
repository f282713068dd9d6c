"""Where a stage store's files lie: in a folder, or at any URL that fsspec reads.

Both keep their promise: a file is complete under its name or not there. Credentials and endpoints
of a URL come from the environment, as its package reads them (`AWS_ENDPOINT_URL`, say).
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from rayci.errors import CorruptionError, RequestError, StorageError
from rayci.storage.atomic import no_full_disk, replacing
from rayci.storage.cache import Cache, Checked, Write
from rayci.storage.urls import EXTRAS, answering, connect, scheme
from rayci.storage.user_paths import path_of

_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
"""Names that file systems give to the time of a file's last change."""


class Files(Protocol):
    """Files by name, with slashes after the folders in it.

    Every method raises StorageError where the place is full or does not answer.
    """

    def read(self, name: str) -> bytes | None:
        """The bytes of a small file; None where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Write a small file that carries its own checksum, or that can be spared."""

    def create(self, name: str, data: bytes) -> bool:
        """Write a small file where there is none; False where there is one. Of several who try, one succeeds."""

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""

    def listing(self, folder: str) -> dict[str, float]:
        """File name without the folder -> time of its last change, seconds since 1970."""

    def folders(self) -> set[str]:
        """Names of the folders at the top."""

    def sizes(self) -> dict[str, int]:
        """Name -> bytes of every file: long for a large store."""

    def delete(self, name: str) -> None:
        """Delete a file if it is there."""

    def move(self, name: str, target: str) -> None:
        """Rename a file if it is there."""

    def put(self, name: str, size: int, write: Write) -> str:
        """Store a large file that `write` writes, of at most `size` bytes; returns its sha256."""

    def get(self, name: str, digest: str, size: int) -> Path | None:
        """A large file of `size` bytes, on this machine; None where there is none.

        A copy of a remote file may be gone by the time that it is opened: ask again.

        Raises CorruptionError where its sha256 is not `digest`.
        """


def open_files(root: Path | str, cache: Path | None = None, cache_limit: int | None = None) -> Files:
    """The files at a local folder or URL; RequestError for a URL that cannot be read here."""
    if isinstance(root, Path) or "://" not in root:
        return LocalFiles(path_of(root))
    kind = scheme(root)
    if kind in ("file", "local"):
        return LocalFiles(Path(root.split("://", 1)[1]))
    if kind == "memory":
        raise RequestError(f"{root}: other processes cannot read this one's memory", allowed="a folder, s3://…, gs://…")
    return RemoteFiles(root, Cache(cache, cache_limit))


class LocalFiles:
    """Files in a folder of this machine, NFS included."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._checked = Checked()

    def read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        with replacing(self.root / name, flush=False) as temporary:
            temporary.write_bytes(data)

    def create(self, name: str, data: bytes) -> bool:
        path = self.root / name
        with no_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("xb") as stream:
                    stream.write(data)
            except FileExistsError:
                return False
        return True

    def exists(self, name: str) -> bool:
        return (self.root / name).is_file()

    def listing(self, folder: str) -> dict[str, float]:
        changed = {}
        with suppress(FileNotFoundError), os.scandir(self.root / folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    changed[entry.name] = entry.stat().st_mtime
        return changed

    def folders(self) -> set[str]:
        return {path.name for path in self.root.iterdir() if path.is_dir()} if self.root.is_dir() else set()

    def sizes(self) -> dict[str, int]:
        files = (path for path in self.root.rglob("*") if path.is_file())
        return {path.relative_to(self.root).as_posix(): path.stat().st_size for path in files}

    def delete(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def move(self, name: str, target: str) -> None:
        with suppress(FileNotFoundError):
            (self.root / name).replace(self.root / target)

    def put(self, name: str, size: int, write: Write) -> str:
        with replacing(self.root / name) as temporary:
            write(temporary)
            return self._checked.digest(temporary)

    def get(self, name: str, digest: str, size: int) -> Path | None:
        path = self.root / name
        try:
            if not self._checked(path, digest):
                raise CorruptionError(f"{path} does not match its checksum")
        except FileNotFoundError:
            return None
        return path


class RemoteFiles:
    """Files at a URL; large ones are read through the node's cache."""

    def __init__(self, url: str, cache: Cache) -> None:
        self.url = url.rstrip("/")
        self._cache = cache
        self._system, root = connect(self.url)
        self._root = root.rstrip("/")

    def read(self, name: str) -> bytes | None:
        with self._answering():
            try:
                # With a start, s3fs sends one request; without, it asks for the size first.
                data: bytes = self._system.cat_file(self._at(name), start=0)
            except FileNotFoundError:
                return None
            return data

    def write(self, name: str, data: bytes) -> None:
        with self._answering():
            self._make_folder(name)
            self._system.pipe_file(self._at(name), data)

    def create(self, name: str, data: bytes) -> bool:
        if self.exists(name):  # asked first: an older server takes the condition below for nothing
            return False
        with self._answering():
            self._make_folder(name)
            try:
                self._system.pipe_file(self._at(name), data, mode="create")
            except FileExistsError:
                return False
        return True

    def exists(self, name: str) -> bool:
        with self._answering():
            return bool(self._system.isfile(self._at(name)))

    def listing(self, folder: str) -> dict[str, float]:
        return {name: _time(info) for name, info in self._listed(folder).items() if info["type"] == "file"}

    def _listed(self, folder: str) -> dict[str, dict[str, Any]]:
        """What fsspec says of everything in a folder, by name."""
        with self._answering():
            try:
                listed = self._system.ls(self._at(folder).rstrip("/"), detail=True)
            except FileNotFoundError:
                return {}
            return {info["name"].rstrip("/").rsplit("/", 1)[-1]: info for info in listed}

    def folders(self) -> set[str]:
        return {name for name, info in self._listed("").items() if info["type"] == "directory"}

    def sizes(self) -> dict[str, int]:
        with self._answering():
            files = self._system.find(self._root, detail=True)
            return {name.removeprefix(f"{self._root}/"): int(info["size"]) for name, info in files.items()}

    def delete(self, name: str) -> None:
        with self._answering(), suppress(FileNotFoundError):
            self._system.rm_file(self._at(name))

    def move(self, name: str, target: str) -> None:
        with self._answering(), suppress(FileNotFoundError):
            self._system.mv(self._at(name), self._at(target))

    def put(self, name: str, size: int, write: Write) -> str:
        def publish(path: Path) -> None:
            with self._answering():
                self._make_folder(name)
                self._system.put_file(str(path), self._at(name))

        return self._cache.add(f"new-{os.getpid()}", size, write, publish)

    def get(self, name: str, digest: str, size: int) -> Path | None:
        def download(path: Path) -> None:
            with no_full_disk(path):
                self._system.get_file(self._at(name), str(path))

        with self._answering():
            try:
                return self._cache.get(digest, size, download)
            except FileNotFoundError as error:
                if self.exists(name):  # what went was this node's copy
                    raise StorageError(f"{self.url}/{name}: its copy on this node was deleted ({error})") from None
                return None
            except CorruptionError as error:
                raise CorruptionError(f"{self.url}/{name} does not match its checksum: {error}") from None

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _make_folder(self, name: str) -> None:
        if scheme(self.url) not in EXTRAS:  # buckets have no folders, other systems may
            self._system.makedirs(self._at(name).rsplit("/", 1)[0], exist_ok=True)

    def _answering(self) -> AbstractContextManager[None]:
        return answering(self.url)


def _time(info: dict[str, Any]) -> float:
    for key in _TIMES:
        value = info.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, str):
            return datetime.fromisoformat(value).timestamp()
    return 0.0
