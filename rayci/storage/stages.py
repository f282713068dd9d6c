"""The stage store: fingerprint -> changed tensors, receipt, readings, or why there is none.

Files appear under their final names only when complete, and a name is the content's identity,
so two writers of one stage are harmless. Weights are safetensors, each in the smallest form that gives it
back bit for bit (`rayci.codec.exact_forms`); they and every entry (`rayci.storage.entries`) are checked by their
sha256. What cannot be stored is not stored: it is computed again where it is needed, and a note says why.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from rayci.errors import CorruptionError, RequestError, StorageError
from rayci.intervention import Receipt
from rayci.storage import tensor_files
from rayci.storage.claims import Waiting
from rayci.storage.entries import decode, encode
from rayci.storage.files import open_files
from rayci.storage.objects import StageObjects
from rayci.storage.room import INDEX, RECEIPTS, WEIGHTS, Room, folder
from rayci.storage.user_paths import path_of

if TYPE_CHECKING:
    from torch import Tensor

    from rayci.codec.exact_forms import Packed

_KEPT = "kept/"


@dataclass(frozen=True)
class Outcome:
    """How the last step of a stage went."""

    seconds: float
    peak_memory_bytes: int | None
    failure: str | None
    """Why the stage has no weights; None where it has."""
    traceback: str | None = None
    """Where the failure came from, as Python prints it."""


class StageStore:
    """Stages in a folder or at a URL that fsspec reads, two levels deep: `ab/abcdef…/`.

    `limit`: bytes that weights may take; those used least recently are deleted when it would be
    passed, outcomes and readings stay. `cache`, `cache_limit`: folder and bytes of this node's
    copies of what lies at a URL, see `rayci.storage.cache`. RequestError for a URL that cannot be read here.
    """

    def __init__(
        self, root: Path | str, *, limit: int | None = None, cache: Path | None = None, cache_limit: int | None = None
    ) -> None:
        self._files = open_files(root, cache, cache_limit)
        self._room = Room(self._files, limit)
        self._notes: list[str] = []
        self.root = root

    def check(self) -> None:
        """Write a file and delete it; RequestError where that is not possible."""
        name = f"index/check-{uuid.uuid4().hex}"
        try:
            self._files.write(name, b"")
            self._files.delete(name)
        except (StorageError, OSError) as error:
            hint = "its credentials and endpoint come from the environment, as its package reads them"
            raise RequestError(
                f"the stage store cannot be written: {error}",
                at=str(self.root),
                hint=hint if "://" in str(self.root) else "another --store",
            ) from None

    def take_notes(self) -> list[str]:
        """What could not be stored or read since the last call, and why."""
        notes = list(dict.fromkeys(self._notes))
        self._notes.clear()  # objects of stages write into it too
        return notes

    @property
    def empty(self) -> bool:
        """Whether nothing was ever stored here."""
        return not self._files.folders() - {INDEX}

    def stored(self) -> set[str]:
        """Stages with weights or objects."""
        return self._room.stages()

    def taken(self) -> int:
        """Bytes that stored weights take."""
        return self._room.taken()

    def put_weights(
        self,
        stage: str,
        changed: Mapping[str, Tensor],
        receipts: Sequence[Receipt],
        base: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Store a stage's changed weights and the receipts of all its steps, if there is room.

        What `base` holds under the same names, of the untouched model, must be at hand when the stage is read.
        """
        from rayci.codec.exact_forms import Packed  # loads torch

        packed = Packed.of(changed, base or {}, [receipt.kept for receipt in receipts])
        tensors = dict(packed.tensors)
        for index, receipt in enumerate(receipts):
            kept = {f"{_KEPT}{index}/{name}": value for name, value in receipt.kept.items()}
            tensors |= {name: value.detach().cpu().contiguous() for name, value in kept.items()}
        size = tensor_files.most_bytes(tensors)
        plain = [
            {"changed": r.changed, "counts": dict(r.counts), "retries": r.retries, "notes": r.notes} for r in receipts
        ]
        try:
            if not self._room.reserve(stage, size):
                self._notes.append(f"a stage of {size} bytes was not stored: no room under {self._room.limit} bytes")
                return
            digest = tensor_files.write(self._files, f"{folder(stage)}/{WEIGHTS}", tensors)
            self._write(stage, RECEIPTS, {"sha256": digest, "bytes": size, "receipts": plain, "forms": packed.forms})
            self._room.used(stage, size)
        except StorageError as error:
            self._notes.append(f"a stage was not stored: {error}")
            with self._noting():
                self._room.free(stage)

    def has_weights(self, stage: str) -> bool:
        """Whether the stage's weights are stored; the receipts are written last."""
        return self._read(stage, RECEIPTS) is not None

    def weights(self, stage: str) -> tuple[Packed, list[Receipt]] | None:
        """Changed weights and receipts; None where they are not stored, or not any more.

        A damaged stage is set aside, so that it is computed again.
        """
        entry = self._read(stage, RECEIPTS)
        if entry is None:
            return None
        with self._noting():
            try:
                tensors = tensor_files.read(self._files, f"{folder(stage)}/{WEIGHTS}", entry)
            except (CorruptionError, SafetensorError) as error:
                self._room.set_aside(stage, f"damaged-{uuid.uuid4().hex[:8]}")
                self._notes.append(f"{error}; it was set aside and is computed again")
                return None
            if tensors is None:
                self._files.delete(f"{folder(stage)}/{RECEIPTS}")
                return None
            self._room.used(stage, entry["bytes"])
            return _apart(tensors, entry["receipts"], entry.get("forms", {}))  # once all weights were dense
        return None

    def free_weights(self, stage: str) -> None:
        """Delete a stage's weights, and what was built from it; its outcome and readings stay."""
        with self._noting():
            self._room.free(stage)

    def objects(self, stage: str, waiting: Waiting = nullcontext) -> StageObjects:
        """What methods build from a stage once, see `rayci.storage.objects`; `waiting` is entered meanwhile."""
        return StageObjects(stage, self._files, self._room, self._notes, waiting)

    def free_objects(self, stage: str) -> None:
        """Delete what was built from a stage; its weights stay."""
        with self._noting():
            self._room.free_objects(stage)

    def put_outcome(self, stage: str, outcome: Outcome) -> None:
        """Store how the stage's last step went."""
        with self._noting():
            self._write(stage, "outcome.json", asdict(outcome))

    def outcome(self, stage: str) -> Outcome | None:
        """How the stage's last step went, or None where it has not run or cannot be read."""
        entry = self._read(stage, "outcome.json")
        try:
            return None if entry is None else Outcome(**entry)
        except TypeError:
            return None

    def put_reading(self, stage: str, criterion: str, reading: Mapping[str, Any]) -> None:
        """Store one reading under its criterion fingerprint."""
        with self._noting():
            self._write(stage, f"readings/{criterion}.json", reading)

    def reading(self, stage: str, criterion: str) -> dict[str, Any] | None:
        """A stored reading, or None."""
        return self._read(stage, f"readings/{criterion}.json")

    def forget(self, stage: str) -> None:
        """Delete a stage's outcome and readings, so that it is run and measured again."""
        with self._noting():
            self._files.delete(f"{folder(stage)}/outcome.json")
            for name in self._files.listing(f"{folder(stage)}/readings"):
                self._files.delete(f"{folder(stage)}/readings/{name}")

    def forget_readings(self, stage: str, criteria: Iterable[str]) -> None:
        """Delete single readings of a stage, by their criterion fingerprints, so that they are taken again."""
        with self._noting():
            for criterion in criteria:
                self._files.delete(f"{folder(stage)}/readings/{criterion}.json")

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """A store that is full or does not answer costs time, no results: a note, no error."""
        try:
            yield
        except StorageError as error:
            self._notes.append(str(error))

    def _write(self, stage: str, name: str, entry: Mapping[str, Any]) -> None:
        place = f"{folder(stage)}/{name}"
        self._files.write(place, encode(entry, place))

    def _read(self, stage: str, name: str) -> dict[str, Any] | None:
        """An entry; None where there is none or it is damaged: it is then written anew."""
        place = f"{folder(stage)}/{name}"
        with self._noting():
            data = self._files.read(place)
            try:
                return None if data is None else decode(data, place)
            except CorruptionError as error:
                self._notes.append(f"{self.root}/{error}; it is computed again")
        return None


def _apart(
    tensors: Mapping[str, Tensor], plain: Sequence[Mapping[str, Any]], forms: Mapping[str, Mapping[str, Any]]
) -> tuple[Packed, list[Receipt]]:
    """The changed weights of a weights file, and the receipts with the tensors that they keep."""
    from rayci.codec.exact_forms import Packed  # loads torch

    receipts = []
    for index, receipt in enumerate(plain):
        prefix = f"{_KEPT}{index}/"
        kept = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        receipts.append(
            Receipt(
                tuple(receipt["changed"]), receipt["counts"], tuple(receipt["retries"]), kept, tuple(receipt["notes"])
            )
        )
    stored = {name: value for name, value in tensors.items() if not name.startswith(_KEPT)}
    return Packed(stored, forms, [receipt.kept for receipt in receipts]), receipts


def located(root: Path | str) -> str:
    """A store's place as workers must know it, whose working directory is another one; RequestError for no place."""
    scheme, separator, rest = str(root).partition("://")
    if not separator:
        return str(path_of(root))
    if not (scheme and rest.strip("/")):
        raise RequestError(f"{root} names no folder", allowed="a folder, s3://bucket/…, gs://bucket/…")
    return str(root)
