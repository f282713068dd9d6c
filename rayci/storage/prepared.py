"""Files that are made once on a node and shared by its workers: made by the first who asks, whole or not there."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rayci.errors import CorruptionError, RequestError
from rayci.fingerprint import hash_file
from rayci.storage import entries
from rayci.storage.atomic import replacing

Facts = Mapping[str, Any]
"""What is known of a file, JSON values."""


def once(name: str, make: Callable[[Path], Facts]) -> tuple[Path, Facts]:
    """The file of this name in the node's folder, and what `make` told of it when it wrote the file.

    `name` says all that decides the content. Other processes wait for the first; a file that is not as it was written
    is made anew. Raises StorageError where there is no room, and what `make` raises.
    """
    path = node_folder() / "prepared" / name
    with suppress(CorruptionError):
        return path, _checked(path)
    with _locked(path.with_suffix(".lock")):
        with suppress(CorruptionError):
            return path, _checked(path)  # another process was faster
        with replacing(path) as temporary:
            facts = make(temporary)
            digest = hash_file(temporary)
        beside = _beside(path)
        with replacing(beside) as temporary:
            entry = {"facts": facts, "sha256": digest, "state": state_of(path)}
            temporary.write_bytes(entries.encode(entry, beside.name))
    return path, facts


def node_folder() -> Path:
    """`$RAYCI_CACHE`, or a folder of this user's under the system's temporary one."""
    if chosen := os.environ.get("RAYCI_CACHE"):
        return Path(chosen).expanduser()
    root = Path(tempfile.gettempdir()) / f"rayci-cache-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise RequestError(f"{root} belongs to another user", at="node-local cache", hint="RAYCI_CACHE=/some/folder")
    return root


def _checked(path: Path) -> Facts:
    """What is known of a file; CorruptionError where it is not there, or not as it was written.

    It is read again only where it was touched since.
    """
    entry = entries.read(_beside(path))
    if not path.is_file() or (state_of(path) != entry.get("state") and hash_file(path) != entry["sha256"]):
        raise CorruptionError(f"{path} is not as it was written")
    facts: Facts = entry["facts"]
    return facts


def state_of(path: Path) -> list[int]:
    """What changes with a file's content: its number, bytes, and the times of the last change of content and state.

    The last one nobody can set back.
    """
    state = path.stat()
    return [state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
