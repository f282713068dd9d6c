"""The stage store: fingerprint -> changed tensors, receipt, readings, or why there is none.

Files appear under their final names only when complete, and a name is the content's identity,
so two writers of one stage are harmless. Weights are safetensors; they and every record are
checked by their sha256. What cannot be stored is not stored: it is computed again where it is
needed, and a note says why.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rayci.errors import CorruptionError, RequestError, StorageError
from rayci.intervention import Receipt
from rayci.storage.files import open_files
from rayci.storage.room import RECEIPTS, WEIGHTS, Room, folder

_KEPT = "kept/"
_CHECK = "check"


@dataclass(frozen=True)
class Outcome:
    """How the last step of a stage went."""

    seconds: float
    peak_memory_bytes: int | None
    failure: str | None
    """Why the stage has no weights; None where it has."""


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
        notes, self._notes = self._notes, []
        return list(dict.fromkeys(notes))

    def stored(self) -> set[str]:
        """Stages with weights."""
        return self._room.stages()

    def put_weights(self, stage: str, changed: Mapping[str, Tensor], receipts: Sequence[Receipt]) -> None:
        """Store a stage's changed tensors and the receipts of all its steps, if there is room."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in changed.items()}
        for index, receipt in enumerate(receipts):
            kept = {f"{_KEPT}{index}/{name}": value for name, value in receipt.kept.items()}
            tensors |= {name: value.detach().cpu().contiguous() for name, value in kept.items()}
        size = _file_size(tensors)
        plain = [{"changed": r.changed, "counts": dict(r.counts), "retries": r.retries} for r in receipts]
        try:
            if not self._room.reserve(stage, size):
                self._notes.append(f"a stage of {size} bytes was not stored: no room under {self._room.limit} bytes")
                return
            digest = self._files.put(f"{folder(stage)}/{WEIGHTS}", size, partial(save_file, tensors))
            self._write(stage, RECEIPTS, {"sha256": digest, "bytes": size, "receipts": plain})
            self._room.used(stage, size)
        except StorageError as error:
            self._notes.append(f"a stage was not stored: {error}")
            with self._noting():
                self._room.free(stage)

    def has_weights(self, stage: str) -> bool:
        """Whether the stage's weights are stored; the receipts are written last."""
        return self._read(stage, RECEIPTS) is not None

    def weights(self, stage: str) -> tuple[dict[str, Tensor], list[Receipt]] | None:
        """Changed tensors and receipts; None where they are not stored, or not any more.

        A damaged stage is set aside, so that it is computed again.
        """
        record = self._read(stage, RECEIPTS)
        if record is None:
            return None
        found = None
        with self._noting():
            try:
                found = self._load(stage, record)
            except FileNotFoundError:  # freed by another worker after the receipts were read
                self._files.delete(f"{folder(stage)}/{RECEIPTS}")
            except (CorruptionError, SafetensorError) as error:
                self._room.set_aside(stage, f"damaged-{uuid.uuid4().hex[:8]}")
                self._notes.append(f"{error}; it was set aside and is computed again")
        return found

    def _load(self, stage: str, record: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[Receipt]]:
        path = self._files.get(f"{folder(stage)}/{WEIGHTS}", record["sha256"], record.get("bytes"))
        if path is None:
            raise FileNotFoundError(stage)
        tensors = _read_tensors(path)
        self._room.used(stage, record.get("bytes") or path.stat().st_size)
        receipts = []
        for index, plain in enumerate(record["receipts"]):
            mark = f"{_KEPT}{index}/"
            kept = {name.removeprefix(mark): value for name, value in tensors.items() if name.startswith(mark)}
            receipts.append(Receipt(tuple(plain["changed"]), plain["counts"], tuple(plain["retries"]), kept))
        return {name: value for name, value in tensors.items() if not name.startswith(_KEPT)}, receipts

    def free_weights(self, stage: str) -> None:
        """Delete a stage's weights; its outcome and readings stay."""
        with self._noting():
            self._room.free(stage)

    def put_outcome(self, stage: str, outcome: Outcome) -> None:
        """Record how the stage's last step went."""
        with self._noting():
            self._write(stage, "outcome.json", outcome.__dict__)

    def outcome(self, stage: str) -> Outcome | None:
        """How the stage's last step went, or None where it has not run or cannot be read."""
        record = self._read(stage, "outcome.json")
        try:
            return None if record is None else Outcome(**record)
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

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """A store that is full or does not answer costs time, no results: a note, no error."""
        try:
            yield
        except StorageError as error:
            self._notes.append(str(error))

    def _write(self, stage: str, name: str, record: Mapping[str, Any]) -> None:
        text = json.dumps({**record, _CHECK: _digest(record)})
        self._files.write(f"{folder(stage)}/{name}", text.encode())

    def _read(self, stage: str, name: str) -> dict[str, Any] | None:
        """A record; None where there is none or it is damaged: it is then written anew."""
        data = None
        with self._noting():
            data = self._files.read(f"{folder(stage)}/{name}")
        if data is None:
            return None
        try:
            record: dict[str, Any] = json.loads(data)
            check = record.pop(_CHECK, None)
            if check is None or check == _digest(record):  # stores made before there were checks have none
                return record
        except (ValueError, TypeError, AttributeError):
            pass
        self._notes.append(f"{self.root}/{folder(stage)}/{name} is damaged; it is computed again")
        return None


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except RuntimeError as error:
        if "No such file" in str(error):  # it is opened twice; the second time, torch says it in words
            raise FileNotFoundError(path) from None
        raise
    return tensors


def located(root: Path | str) -> str:
    """A store's place as workers must know it, whose working directory is another one."""
    return str(root) if "://" in str(root) else str(Path(root).expanduser().resolve())


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()


def _file_size(tensors: Mapping[str, Tensor]) -> int:
    """At most this many bytes a safetensors file of these tensors takes: data, and a header entry each."""
    return 64 + sum(value.nbytes + len(name.encode()) + 40 * (value.dim() + 3) for name, value in tensors.items())
