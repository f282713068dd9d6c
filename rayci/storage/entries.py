"""Entries: JSON objects in files of their own, with a checksum over what they say and where they lie.

A file that was changed, cut short, copied from another place or written without a checksum is
no entry. What an entry holds can be had again, so its reader does without it and says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rayci.errors import CorruptionError
from rayci.storage.urls import UrlFile

_CHECKSUM = "checksum"


def encode(entry: Mapping[str, Any], place: str, *, indent: int | None = None) -> bytes:
    """The bytes of an entry for the file of this name; `indent` spaces a level, for people."""
    return json.dumps({**entry, _CHECKSUM: _checksum(entry, place)}, indent=indent).encode()


def decode(data: bytes, place: str) -> dict[str, Any]:
    """The entry in the file of this name; CorruptionError where it is not what was written there."""
    try:
        entry = json.loads(data)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        raise CorruptionError(f"{place} is damaged: not a JSON object")
    checksum = entry.pop(_CHECKSUM, None)
    if checksum is None:
        raise CorruptionError(f"{place} is damaged, or of an older version: it has no checksum")
    if checksum != _checksum(entry, place):
        raise CorruptionError(f"{place} is damaged: it does not match its checksum")
    return entry


def read(path: Path | UrlFile) -> dict[str, Any]:
    """The entry in a file under its own name; CorruptionError where it is not there, or not as it was written."""
    try:
        known = isinstance(path, UrlFile) or path.is_file()  # a pipe would never end
        data = path.read_bytes() if known else b""
    except OSError as error:
        raise CorruptionError(f"{path} cannot be read: {error}") from None
    return decode(data, path.name)


def _checksum(entry: Mapping[str, Any], place: str) -> str:
    return hashlib.sha256(json.dumps([place, entry]).encode()).hexdigest()
