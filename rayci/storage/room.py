"""How much the weights in a stage store take, and which go when a limit would be passed.

`index/` holds one empty file for each stage with weights, `<stage>-<bytes>`, and for what lies beside them, an object
that was built from the stage or a damaged copy, `<stage>-<bytes>-<label>`; its time is that of the last use. A put
costs one listing of that folder, whatever the store's size.
A writer adds its claim before it looks at the sum and writes only where the sum is within the
limit: whoever looked last saw all others, so no number of writers passes the limit together.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from rayci.storage.files import Files
from rayci.units import HOUR

INDEX = "index"
_COUNTED = f"{INDEX}/counted"
"""There where every stage has its claim; stores made before there was an index have none."""
_DEAD_AFTER = HOUR
"""Seconds after which what a writer began and did not finish is nobody's."""
DAMAGED = "damaged"
"""How the labels of damaged copies begin."""

RECEIPTS, WEIGHTS = "receipts.json", "weights.safetensors"


def folder(stage: str) -> str:
    """The folder of a stage, two levels deep: `ab/abcdef…`."""
    return f"{stage[:2]}/{stage}"


def place(stage: str, name: str, label: str = "") -> str:
    """Where a file of a stage lies, or of what is labelled beside it."""
    return f"{folder(stage)}/{label}-{name}" if label else f"{folder(stage)}/{name}"


@dataclass(frozen=True, order=True)
class _Claim:
    """What a stage's weights take, or what is labelled beside them."""

    used: float
    """Seconds since 1970; 0 for a damaged copy, which goes first."""
    name: str
    stage: str
    size: int
    label: str
    """Of an object or a damaged copy; empty for the weights."""

    @property
    def damaged(self) -> bool:
        """Whether it is a damaged copy, which only people look at."""
        return self.label.startswith(DAMAGED)


class Room:
    """The stages with weights or objects in a store, and what they take together; `limit` in bytes."""

    def __init__(self, files: Files, limit: int | None = None) -> None:
        self._files, self.limit = files, limit
        self._counted = False

    def stages(self) -> set[str]:
        """Stages with weights or objects, or with what is left of a writer that died."""
        self._count()
        return {claim.stage for claim in self._claims()}

    def taken(self) -> int:
        """Bytes that all of them take together, as far as they have their claims; writes nothing."""
        return sum(claim.size for claim in self._claims())

    def reserve(self, stage: str, size: int, label: str = "") -> bool:
        """Claim room for a stage, at the cost of those used least recently; False where there is not enough."""
        own = _name(stage, size, label)
        if self.limit is None:
            self._files.write(own, b"")
            return True
        if size > self.limit:
            return False
        self._count()
        self._files.write(own, b"")
        claims = sorted(self._claims())
        total = sum(claim.size for claim in claims)
        for claim in claims:
            if total > self.limit and (claim.stage, claim.label) != (stage, label) and self._is_settled(claim):
                self._remove(claim)
                total -= claim.size
        if total > self.limit:
            self._files.delete(own)
        return total <= self.limit

    def used(self, stage: str, size: int, label: str = "") -> None:
        """Remember that a stage was used just now."""
        if self.limit is not None:
            self._files.write(_name(stage, size, label), b"")
            if not self._files.exists(place(stage, RECEIPTS, label)):  # evicted meanwhile
                self._files.delete(_name(stage, size, label))

    def free(self, stage: str) -> None:
        """Delete a stage's weights, and all that is labelled beside them."""
        self._remove(_Claim(0.0, "", stage, 0, ""))
        for claim in self._claims():
            if claim.stage == stage:
                self._remove(claim)

    def free_objects(self, stage: str, label: str | None = None) -> None:
        """Delete the objects that were built from a stage, or the one of this label; its weights stay."""
        for claim in self._claims():
            wanted = claim.label == label if label else claim.label and not claim.damaged
            if claim.stage == stage and wanted:
                self._remove(claim)

    def set_aside(self, stage: str, label: str) -> None:
        """Rename a stage's files, so that they are there to be looked at, but not used; they still count."""
        for claim in self._claims():
            if claim.stage == stage and not claim.label:
                self._files.write(_name(stage, claim.size, label), b"")
                self._files.delete(f"{INDEX}/{claim.name}")
        for name in (RECEIPTS, WEIGHTS):
            self._files.move(place(stage, name), place(stage, name, label))

    def _is_settled(self, claim: _Claim) -> bool:
        """Whether nobody is still writing it."""
        receipts = place(claim.stage, RECEIPTS, claim.label)
        return claim.damaged or time.time() - claim.used > _DEAD_AFTER or self._files.exists(receipts)

    def _remove(self, claim: _Claim) -> None:
        own = [place(claim.stage, name, claim.label) for name in (RECEIPTS, WEIGHTS)]
        half = f".{own[1].rpartition('/')[2]}."
        where = folder(claim.stage)
        for name, changed in sorted(self._files.listing(where).items()):  # receipts before weights
            if f"{where}/{name}" in own or (name.startswith(half) and time.time() - changed > _DEAD_AFTER):
                self._files.delete(f"{where}/{name}")
        if claim.name:
            self._files.delete(f"{INDEX}/{claim.name}")

    def _claims(self) -> list[_Claim]:
        claims = []
        for name, used in self._files.listing(INDEX).items():
            stage, _, rest = name.partition("-")
            size, _, label = rest.partition("-")
            if size.isdecimal():
                damaged = label.startswith(DAMAGED)
                claims.append(_Claim(0.0 if damaged else used, name, stage, int(size), label))
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
