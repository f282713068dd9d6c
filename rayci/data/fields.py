"""Fields of a row, checked: ValueError says which field is not what it should be, and what stands there."""

from __future__ import annotations

from typing import Any


class Unusable(Exception):  # noqa: N818 - a record that is left out, not a failure
    """A well-formed record that no method could use; its text is the reason under which it is counted."""


def field(record: Any, key: str) -> Any:
    """A field that must be there."""
    if not isinstance(record, dict):
        raise ValueError(f"{record!r} is no record, which is a mapping")
    if key not in record:
        raise ValueError(f"it has no field {key!r}")
    return record[key]


def text(record: Any, key: str) -> str:
    """A text that says something."""
    return as_text(field(record, key), key)


def any_text(record: Any, key: str) -> str:
    """A text that may be empty."""
    return whole_text(field(record, key), key)


def as_text(value: Any, name: str) -> str:
    """The value, where it is a text that says something."""
    if isinstance(value, str) and not value.strip():
        raise ValueError(f"{name} is {value!r}, not a text")
    return whole_text(value, name)


def whole_text(value: Any, name: str) -> str:
    """The value, where it is a text that can be encoded; it may be empty."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}, not a text")
    value.encode()  # half of a surrogate pair is a ValueError: no tokenizer can read it
    return value


def usable_text(value: Any, name: str) -> str:
    """The value, where it is a text; Unusable where it is blank."""
    text = whole_text(value, name)
    if not text.strip():
        raise Unusable(f"the {name} is empty")
    return text


def as_list(value: Any, name: str) -> list[Any]:
    """The value, where it is a list."""
    if not isinstance(value, list):
        raise ValueError(f"{name} is {value!r}, not a list")
    return value


def as_texts(value: Any, name: str) -> tuple[str, ...]:
    """A list of texts that say something."""
    return tuple(as_text(item, f"{name}[{index}]") for index, item in enumerate(as_list(value, name)))


def any_texts(value: Any, name: str) -> tuple[str, ...]:
    """A list of texts, some of which may be empty."""
    return tuple(whole_text(item, f"{name}[{index}]") for index, item in enumerate(as_list(value, name)))


def index_of(value: Any, name: str, count: int) -> int:
    """The value, where it is an index below `count`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < count:
        raise ValueError(f"{name} is {value!r}, allowed: an index from 0 to {count - 1}")
    return value
