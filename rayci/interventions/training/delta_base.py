"""What a source of differences is, and which base model it says it was made from, against the one it is added to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rayci.errors import RequestError
from rayci.fingerprint import fingerprint
from rayci.model.folder import weight_files
from rayci.storage import hub_cache
from rayci.storage.file_hashes import hash_once
from rayci.storage.user_paths import path_of
from rayci.subject import Subject

Form = Literal["auto", "checkpoint", "difference", "adapter"]
DIFFERENCE = "difference"
"""What metadata says under `rayci` in a file of differences."""
ADAPTER_CONFIG = "adapter_config.json"
FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", ADAPTER_CONFIG)
"""Patterns of the files that decide what a source is and adds."""
_SNAPSHOT = re.compile(r".*/models--([^/]+?)--([^/]+)/snapshots/[^/]+")
"""A folder of the hub's cache."""


@dataclass(frozen=True, slots=True)
class Base:
    """What a source says of the model that it was made from; nothing where it says nothing."""

    name: str | None = None
    """A hub id, perhaps with a revision, or a folder."""
    digest: str | None = None
    """`weights_digest` of its folder, which decides where it is there."""

    def __str__(self) -> str:
        digest = None if self.digest is None else f"weights {self.digest[:12]}"
        return " ".join(filter(None, (self.name, digest and (f"({digest})" if self.name else digest))))

    def refusal(self, subject: Subject, source: str, allowed: str | None) -> RequestError | None:
        """Why it is not the subject's model; None where it is, where it is `allowed`, or where nothing is said."""
        names = {self.name, self.digest, self.digest and self.digest[:12]} - {None}
        if not names or allowed in names:
            return None
        folder = _folder(subject)
        if self.digest is None:
            same = _is_called(str(self.name), subject, folder)
        else:
            same = folder is not None and weights_digest(folder) == self.digest
        if same:
            return None
        own = subject.model.name_or_path or "a model object without a name"
        if self.digest is not None and folder is not None:
            own += f" (weights {weights_digest(folder)[:12]})"
        return RequestError(
            f"{source} was made from {self}, the model here is {own}",
            allowed="differences from this model",
            hint=f"`base: {self.name or (self.digest or '')[:12]}` where that is this model under another name",
        )


def weights_digest(folder: Path) -> str:
    """Identity of a model folder's weights, by the content of its files."""
    return fingerprint([hash_once(path) for path in weight_files(folder)])


def _folder(subject: Subject) -> Path | None:
    """Where the subject's untouched weights lie; None for a model object whose folder nobody knows."""
    name = str(subject.model.name_or_path or "")
    try:
        folder = path_of(name)
        if not folder.is_dir() and hub_cache.is_id(name):
            folder = hub_cache.snapshot(name, "model", None, ("*.safetensors", "*.json"), fetch=False)[0]
        return folder if name and weight_files(folder) else None
    except RequestError:
        return None


def _is_called(name: str, subject: Subject, folder: Path | None) -> bool:
    """Whether the model goes by this name: its hub id; of a folder also its last part, for folders are moved."""
    if folder is None or name == subject.model.name_or_path:
        return name == subject.model.name_or_path
    cached = _SNAPSHOT.fullmatch(str(folder))
    if cached:
        return name == f"{cached[1]}/{cached[2]}"
    return path_of(name) == folder or Path(name).name == folder.name
