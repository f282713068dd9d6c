"""How much the weights in a stage store take, and which go when a limit would be passed.

`index/` holds one empty file for each stage with weights, `<stage>-<bytes>[-<mark of a damaged copy>]`;
its time is that of the last use. A put costs one listing of that folder, whatever the store's size.
A writer adds its entry before it looks at the sum and writes only where the sum is within the
limit: whoever looked last saw all others, so no number of writers passes the limit together.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from rayci.storage.files import Files

INDEX = "index"
_COUNTED = f"{INDEX}/counted"
"""There where every stage has its entry; stores made before there was an index have none."""
_DEAD_AFTER = 3600.0
"""Seconds after which what a writer began and did not finish is nobody's."""

RECEIPTS, WEIGHTS = "receipts.json", "weights.safetensors"


def folder(stage: str) -> str:
    """The folder of a stage, two levels deep: `ab/abcdef…`."""
    return f"{stage[:2]}/{stage}"


@dataclass(frozen=True, order=True)
class _Entry:
    used: float
    """Seconds since 1970; 0 for a damaged copy, which goes first."""
    name: str
    stage: str
    size: int
    mark: str


class Room:
    """The stages with weights in a store, and what they take together; `limit` in bytes."""

    def __init__(self, files: Files, limit: int | None = None) -> None:
        self._files, self.limit = files, limit
        self._counted = False

    def stages(self) -> set[str]:
        """Stages with weights, or with what is left of a writer that died."""
        self._count()
        return {entry.stage for entry in self._entries()}

    def reserve(self, stage: str, size: int) -> bool:
        """Claim room for a stage, at the cost of those used least recently; False where there is not enough."""
        if self.limit is None:
            self._files.write(_name(stage, size), b"")
            return True
        if size > self.limit:
            return False
        self._count()
        self._files.write(_name(stage, size), b"")
        entries = sorted(self._entries())
        total = sum(entry.size for entry in entries)
        for entry in entries:
            if total > self.limit and (entry.stage != stage or entry.mark) and self._is_settled(entry):
                self._remove(entry)
                total -= entry.size
        if total > self.limit:
            self._files.delete(_name(stage, size))
        return total <= self.limit

    def used(self, stage: str, size: int) -> None:
        """Remember that a stage was used just now."""
        if self.limit is not None:
            self._files.write(_name(stage, size), b"")
            if not self._files.exists(f"{folder(stage)}/{RECEIPTS}"):  # evicted meanwhile
                self._files.delete(_name(stage, size))

    def free(self, stage: str) -> None:
        """Delete a stage's weights, damaged copies included."""
        self._remove(_Entry(0.0, "", stage, 0, ""))
        for entry in self._entries():
            if entry.stage == stage:
                self._remove(entry)

    def set_aside(self, stage: str, mark: str) -> None:
        """Rename a stage's files, so that they are there to be looked at, but not used; they still count."""
        for entry in self._entries():
            if entry.stage == stage and not entry.mark:
                self._files.write(_name(stage, entry.size, mark), b"")
                self._files.delete(f"{INDEX}/{entry.name}")
        for name in (RECEIPTS, WEIGHTS):
            self._files.move(f"{folder(stage)}/{name}", f"{folder(stage)}/{mark}-{name}")

    def _is_settled(self, entry: _Entry) -> bool:
        """Whether nobody is still writing it."""
        receipts = f"{folder(entry.stage)}/{RECEIPTS}"
        return bool(entry.mark) or time.time() - entry.used > _DEAD_AFTER or self._files.exists(receipts)

    def _remove(self, entry: _Entry) -> None:
        place, mark = folder(entry.stage), entry.mark and f"{entry.mark}-"
        own = (f"{mark}{RECEIPTS}", f"{mark}{WEIGHTS}")
        for name, changed in sorted(self._files.listing(place).items()):  # receipts before weights
            if name in own or (name.startswith(f".{WEIGHTS}.") and time.time() - changed > _DEAD_AFTER):
                self._files.delete(f"{place}/{name}")
        if entry.name:
            self._files.delete(f"{INDEX}/{entry.name}")

    def _entries(self) -> list[_Entry]:
        found = []
        for name, used in self._files.listing(INDEX).items():
            stage, _, rest = name.partition("-")
            size, _, mark = rest.partition("-")
            if size.isdecimal():
                found.append(_Entry(0.0 if mark else used, name, stage, int(size), mark))
        return found

    def _count(self) -> None:
        """Make the entries of a store that was filled before it had an index: once in its life."""
        if self._counted or self._files.exists(_COUNTED):
            self._counted = True
            return
        known = {entry.stage for entry in self._entries()}
        for name, size in self._files.sizes().items():
            stage, _, file = name.removeprefix(f"{name[:2]}/").partition("/")
            if file == WEIGHTS and stage not in known:
                self._files.write(_name(stage, size), b"")
        self._files.write(_COUNTED, b"")
        self._counted = True


def _name(stage: str, size: int, mark: str = "") -> str:
    return f"{INDEX}/{stage}-{size}" + (f"-{mark}" if mark else "")
