"""The sha256 of large files that many processes ask for: read once a node, until the file is touched."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from rayci.errors import StorageError
from rayci.fingerprint import fingerprint, hash_file
from rayci.storage.prepared import Facts, once, state_of

LARGE = 1 << 26
"""Bytes below which a file is faster read than remembered."""
_SETTLED = 2.0
"""Seconds since its last change after which another change cannot go by the same time."""


def hash_once(path: Path) -> str:
    """Hex sha256 of a file's bytes; other processes of this node wait for the first, and take its word."""
    state = state_of(path)
    if path.stat().st_size < LARGE or not settled(state):
        return hash_file(path)

    def make(target: Path) -> Facts:
        target.write_text(digest := hash_file(path))
        return {"sha256": digest}

    with suppress(StorageError):
        digest: str = once(f"{fingerprint([str(path.resolve()), *state])}.sha256", make)[1]["sha256"]
        return digest
    return hash_file(path)


def settled(state: list[int]) -> bool:
    """Whether a file of this `state_of` was left alone for so long that another change would be seen in it."""
    return time.time() - state[-1] / 1e9 >= _SETTLED
