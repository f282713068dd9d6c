"""How much the weights in a stage store take, and which go when a limit would be passed.

`index/` holds one empty file for each stage with weights, `<stage>-<bytes>[-<label of a damaged copy>]`;
its time is that of the last use. A put costs one listing of that folder, whatever the store's size.
A writer adds its claim before it looks at the sum and writes only where the sum is within the
limit: whoever looked last saw all others, so no number of writers passes the limit together.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from rayci.storage.files import Files

INDEX = "index"
_COUNTED = f"{INDEX}/counted"
"""There where every stage has its claim; stores made before there was an index have none."""
_DEAD_AFTER = 3600.0
"""Seconds after which what a writer began and did not finish is nobody's."""

RECEIPTS, WEIGHTS = "receipts.json", "weights.safetensors"


def folder(stage: str) -> str:
    """The folder of a stage, two levels deep: `ab/abcdef…`."""
    return f"{stage[:2]}/{stage}"


@dataclass(frozen=True, order=True)
class _Claim:
    """What a stage with weights takes, or a damaged copy of one."""

    used: float
    """Seconds since 1970; 0 for a damaged copy, which goes first."""
    name: str
    stage: str
    size: int
    label: str
    """Of a damaged copy; else empty."""


class Room:
    """The stages with weights in a store, and what they take together; `limit` in bytes."""

    def __init__(self, files: Files, limit: int | None = None) -> None:
        self._files, self.limit = files, limit
        self._counted = False

    def stages(self) -> set[str]:
        """Stages with weights, or with what is left of a writer that died."""
        self._count()
        return {claim.stage for claim in self._claims()}

    def reserve(self, stage: str, size: int) -> bool:
        """Claim room for a stage, at the cost of those used least recently; False where there is not enough."""
        if self.limit is None:
            self._files.write(_name(stage, size), b"")
            return True
        if size > self.limit:
            return False
        self._count()
        self._files.write(_name(stage, size), b"")
        claims = sorted(self._claims())
        total = sum(claim.size for claim in claims)
        for claim in claims:
            if total > self.limit and (claim.stage != stage or claim.label) and self._is_settled(claim):
                self._remove(claim)
                total -= claim.size
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
        self._remove(_Claim(0.0, "", stage, 0, ""))
        for claim in self._claims():
            if claim.stage == stage:
                self._remove(claim)

    def set_aside(self, stage: str, label: str) -> None:
        """Rename a stage's files, so that they are there to be looked at, but not used; they still count."""
        for claim in self._claims():
            if claim.stage == stage and not claim.label:
                self._files.write(_name(stage, claim.size, label), b"")
                self._files.delete(f"{INDEX}/{claim.name}")
        for name in (RECEIPTS, WEIGHTS):
            self._files.move(f"{folder(stage)}/{name}", f"{folder(stage)}/{label}-{name}")

    def _is_settled(self, claim: _Claim) -> bool:
        """Whether nobody is still writing it."""
        receipts = f"{folder(claim.stage)}/{RECEIPTS}"
        return bool(claim.label) or time.time() - claim.used > _DEAD_AFTER or self._files.exists(receipts)

    def _remove(self, claim: _Claim) -> None:
        place, label = folder(claim.stage), claim.label and f"{claim.label}-"
        own = (f"{label}{RECEIPTS}", f"{label}{WEIGHTS}")
        for name, changed in sorted(self._files.listing(place).items()):  # receipts before weights
            if name in own or (name.startswith(f".{WEIGHTS}.") and time.time() - changed > _DEAD_AFTER):
                self._files.delete(f"{place}/{name}")
        if claim.name:
            self._files.delete(f"{INDEX}/{claim.name}")

    def _claims(self) -> list[_Claim]:
        claims = []
        for name, used in self._files.listing(INDEX).items():
            stage, _, rest = name.partition("-")
            size, _, label = rest.partition("-")
            if size.isdecimal():
                claims.append(_Claim(0.0 if label else used, name, stage, int(size), label))
        return claims

    def _count(self) -> None:
        """Make the claims in a store that was filled before it had an index: once in its life."""
        if self._counted or self._files.exists(_COUNTED):
            self._counted = True
            return
        known = {claim.stage for claim in self._claims()}
        for name, size in self._files.sizes().items():
            stage, _, file = name.removeprefix(f"{name[:2]}/").partition("/")
            if file == WEIGHTS and stage not in known:
                self._files.write(_name(stage, size), b"")
        self._files.write(_COUNTED, b"")
        self._counted = True


def _name(stage: str, size: int, label: str = "") -> str:
    return f"{INDEX}/{stage}-{size}" + (f"-{label}" if label else "")
