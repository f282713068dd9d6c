"""Which other methods a method runs, and whether its identity holds theirs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, TypeVar

import pytest

from rayci.settings import Settings

T = TypeVar("T")


def watching(made: Settings, work: Callable[[], T]) -> tuple[T, tuple[Settings, ...]]:
    """What `work` returns, and the methods other than `made` whose code ran meanwhile."""
    others: dict[int, Settings] = {}

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_varnames[:1] == ("self",):
            owner = frame.f_locals.get("self")
            if isinstance(owner, Settings) and type(owner) is not type(made):
                others[id(owner)] = owner

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        result = work()
    finally:
        sys.setprofile(before)
    return result, tuple(others.values())


def unidentified(made: Settings, others: Sequence[Settings]) -> list[str]:
    """Names of those methods whose settings, or whose next version, the identity of `made` would not hold."""
    missing = set()
    for other in others:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(other), "version", other.version + 1)
            if not _holds(made.identity(), other.identity()):
                missing.add(other.name)
    return sorted(missing)


def _holds(identity: Any, inner: dict[str, Any]) -> bool:
    if identity == inner:
        return True
    values = identity.values() if isinstance(identity, dict) else identity if isinstance(identity, list | tuple) else ()
    return any(_holds(value, inner) for value in values)
