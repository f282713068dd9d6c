"""Identity by content: sha256 of canonical JSON and of files."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from rayci.errors import RequestError


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; equal values give equal text in every process on every machine.

    Raises RequestError that names the place of a value for which that cannot be promised: a set
    (no order), NaN (not equal to itself), an object (nothing says what its text stands for).
    """
    return json.dumps(_plain(value, ""), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def fingerprint(value: Any) -> str:
    """Hex sha256 (64 characters) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class ListFingerprint:
    """`fingerprint` of a list whose values come one at a time: only one of them need be in memory."""

    def __init__(self) -> None:
        self._state, self._first = hashlib.sha256(b"["), True

    def add(self, value: Any) -> None:
        """The next value."""
        self._state.update((b"" if self._first else b",") + canonical_json(value).encode())
        self._first = False

    def hexdigest(self) -> str:
        """Hex sha256 (64 characters) of the list up to here."""
        state = self._state.copy()
        state.update(b"]")
        return state.hexdigest()


def hash_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from named parts; different parts give independent streams."""
    return int(fingerprint(list(parts))[:16], 16) >> 1


def _plain(value: Any, place: str) -> Any:
    """The value as what JSON holds; `place` is the way to it, for messages."""
    if isinstance(value, Enum):
        return _plain(value.value, place)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            raise _no_identity("NaN", place, "a number, or null where there is none")
        return int(value) if value.is_integer() else value
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return _plain_mapping(value, place)
    if isinstance(value, set | frozenset):
        raise _no_identity(f"a {type(value).__name__}, whose order changes", place, "a sorted tuple")
    what = f"a {type(value).__module__}.{type(value).__qualname__}"
    raise _no_identity(what, place, "the text, numbers or hash of the content that it stands for")


def _plain_mapping(value: Mapping[Any, Any], place: str) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in value.items():
        name = _plain(key, place)
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise _no_identity(f"a mapping with the key {key!r}", place, "keys of text or whole numbers")
        if str(name) in plain:
            raise _no_identity(f"a mapping with two keys {str(name)!r}, text and number", place, "keys of one kind")
        plain[str(name)] = _plain(item, f"{place}.{name}" if place else str(name))
    return plain


def _no_identity(what: str, place: str, hint: str) -> RequestError:
    return RequestError(
        f"{place or 'the value'} is {what}: it has no stable identity",
        allowed="text, numbers, true, false, null, and lists and mappings of these",
        hint=hint,
    )
