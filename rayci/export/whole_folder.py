"""Folders that are complete under their name, or not there: filled beside it, then renamed."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rayci.errors import RequestError
from rayci.storage.atomic import no_full_disk
from rayci.storage.user_paths import folder_to_write


def refuse_occupied(folder: Path | str, at: str = "--out") -> Path:
    """The absolute path of a folder to be made; RequestError where something is there already."""
    path = folder_to_write(folder, at)
    if path.is_dir() and any(path.iterdir()):
        raise RequestError(f"{path} is not empty", at=at, hint="a new folder, or remove what is there")
    return path


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill, which takes its place at `path` when the block ends well; else nothing is left.

    Raises StorageError where the disk is full, RequestError where `path` holds something.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with no_full_disk(path):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            readable = temporary.stat().st_mode & 0o666
            for file in temporary.iterdir():
                file.chmod(readable)  # safetensors writes what nobody else may read
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
            refuse_occupied(path)
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
