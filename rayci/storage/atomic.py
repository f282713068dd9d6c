"""Files that are complete under their name, or not there: written beside it, flushed, renamed."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rayci.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; it takes the place of `path` when the block ends well.

    The folder is made if need be. After an error nothing is left and `path` is as before. `flush`
    waits for the disk, so that a power cut loses nothing either; without, a file that carries a
    checksum of its own is several times as fast to write.
    Raises StorageError where the disk, or the quota on it, is full, or the folder cannot be made.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with no_full_disk(path):
        try:
            _make(path.parent)
            yield temporary
            if flush:
                with temporary.open("rb") as stream:
                    os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def no_full_disk(path: Path) -> Iterator[None]:
    """Turn the error of a full disk, whichever library raises it, into one StorageError that names `path`."""
    try:
        yield
    except Exception as error:
        if not _is_full(error):
            raise
        raise StorageError(
            f"no space left on the disk to write {path}; make some room, then run the same command again: it continues"
        ) from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if _is_full(error):
            raise
        raise StorageError(f"the folder {folder} cannot be made: {error.strerror}") from None


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    return any(f"(os error {number})" in str(error) for number in _FULL)  # how libraries in Rust say it
