"""Objects of a stage: tensors that methods build from it, once for all workers, kept beside its weights.

An object is named by the stage and by all else that decides it. The first who asks builds it; others wait for it. It
is checked by its sha256, counts under the store's limit, and goes with the last trial that goes on from the stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from rayci.errors import CorruptionError, StorageError
from rayci.fingerprint import fingerprint
from rayci.storage import claims, tensor_files
from rayci.storage.entries import decode, encode
from rayci.storage.files import Files
from rayci.storage.room import RECEIPTS, WEIGHTS, Room, place

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class StageObjects:
    """The objects of one stage; implements `rayci.model.built_objects.Objects`."""

    stage: str
    files: Files
    room: Room
    notes: list[str]
    """Where it is said what could not be stored or read."""
    waiting: claims.Waiting = nullcontext
    """Entered while another builds."""

    def built(
        self, model: PreTrainedModel, what: Any, build: Callable[[], Mapping[str, Tensor]]
    ) -> Mapping[str, Tensor]:
        """The object: from the store, or else built here and stored; the stage stands for the model."""
        label = f"object-{fingerprint(what)[:32]}"
        found = self._read(label)
        if found is not None:
            return found
        stored = place(self.stage, RECEIPTS, label)
        claim, done = place(self.stage, "claim", label), partial(self.files.exists, stored)
        with claims.turn(self.files, claim, done, self.waiting):
            found = self._read(label)
            if found is None:
                found = {name: value.detach().cpu().contiguous() for name, value in build().items()}
                self._write(label, found)
        return found

    def _read(self, label: str) -> dict[str, Tensor] | None:
        """The object's tensors; None where it is not stored, or was damaged and is deleted."""
        name = place(self.stage, RECEIPTS, label)
        try:
            data = self.files.read(name)
            entry = None if data is None else decode(data, name)
            tensors = entry and tensor_files.read(self.files, place(self.stage, WEIGHTS, label), entry)
            if entry and tensors:
                self.room.used(self.stage, entry["bytes"], label)
                return tensors
        except (CorruptionError, SafetensorError) as error:
            self.notes.append(f"{error}; it is built again")
            self.room.free_objects(self.stage, label)
        except StorageError as error:
            self.notes.append(str(error))
        return None

    def _write(self, label: str, tensors: Mapping[str, Tensor]) -> None:
        size = tensor_files.most_bytes(tensors)
        try:
            if not self.room.reserve(self.stage, size, label):
                self.notes.append(f"an object of {size} bytes was not stored: no room under {self.room.limit} bytes")
                return
            digest = tensor_files.write(self.files, place(self.stage, WEIGHTS, label), tensors)
            name = place(self.stage, RECEIPTS, label)
            self.files.write(name, encode({"sha256": digest, "bytes": size}, name))
        except StorageError as error:
            self.notes.append(f"an object was not stored: {error}")
            try:
                self.room.free_objects(self.stage, label)
            except StorageError as again:
                self.notes.append(str(again))
