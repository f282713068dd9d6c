"""Folders that a setting names, of this machine or of the hub: where they lie, and the identity of what they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from rayci.fingerprint import fingerprint
from rayci.storage import hub_cache
from rayci.storage.file_hashes import hash_once, settled
from rayci.storage.prepared import state_of
from rayci.storage.user_paths import path_of

ALLOWED = "a folder, or a hub id owner/name[@revision]"
_COMMIT = re.compile("[0-9a-f]{40}")


def locate(source: str, patterns: Sequence[str], *, fetch: bool = True) -> Path:
    """The folder of that name, or the snapshot of the hub that holds what there is of `patterns`.

    The hub is asked where a branch is now, not for a commit that is here. Raises Absent where the folder is not here,
    and may not or cannot be fetched.
    """
    folder = path_of(source)
    if folder.is_dir():
        return folder
    if not hub_cache.is_id(source):
        raise hub_cache.Absent(f"no folder {source!r}", allowed=ALLOWED)
    name, _, revision = source.partition("@")
    if fetch and _COMMIT.fullmatch(revision):
        with suppress(hub_cache.Absent):
            here = hub_cache.snapshot(name, "model", revision, patterns, fetch=False)[0]
            if matching(here, patterns):
                return here
    return hub_cache.snapshot(name, "model", revision or None, patterns, fetch=fetch)[0]


def content(folder: Path, patterns: Sequence[str]) -> str:
    """Fingerprint of names and contents of the files that match, the same wherever the folder lies."""
    return fingerprint({path.name: _digest(path) for path in matching(folder, patterns)})


def pinned(source: str) -> str:
    """A source of the hub at the commit that is here; a folder as it is named."""
    if path_of(source).is_dir():
        return source
    return f"{source.partition('@')[0]}@{locate(source, (), fetch=False).name}"


def matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Regular files of these patterns, by name."""
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def _digest(path: Path) -> str:
    state = state_of(path)
    return _of_state(path, *state) if settled(state) else hash_once(path)


@lru_cache(maxsize=1024)
def _of_state(path: Path, *state: int) -> str:
    """Read once, however often a row or a plan asks, until the file is touched."""
    return hash_once(path)
