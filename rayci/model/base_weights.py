"""The untouched weights on the host: pages of files that all processes of a node share.

A tensor of the model folder is mapped from there where it is what was loaded, bit for bit: under the parameter's name,
in its dtype. What transformers converts on loading (another dtype, stacked experts, renamed or tied weights) lies in
a file that the first process of the node writes. A small model is copied by every process. The files of all models
take half of the node's disk at most, those used least recently go first: who has mapped one keeps its pages.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rayci.errors import StorageError
from rayci.fingerprint import fingerprint
from rayci.model.folder import weight_files
from rayci.model.weight_bits import same_bits
from rayci.storage.prepared import once

MAPPED_FROM = 1 << 26
"""Bytes of weights from which on they are mapped."""
_FILES, _USED = "base-", ".lock"
"""How the names of the node's files begin, and which file beside one has the time of its last use."""


def copied(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters on the CPU, by name."""
    return {name: value.detach().cpu().clone() for name, value in model.named_parameters()}


def untouched(folder: Path, identity: str, model: nn.Module) -> dict[str, Tensor]:
    """The parameters of a model as it was loaded from a folder, by name, on the CPU; to be read, not written.

    `identity` is that of the folder's content, so that its file is found again.
    """
    own = dict(model.named_parameters())
    if sum(value.nbytes for value in own.values()) < MAPPED_FROM:
        return copied(model)
    shapes = [[name, str(value.dtype), list(value.shape)] for name, value in own.items()]
    name = f"{_FILES}{fingerprint([identity, version('transformers'), shapes])}"
    try:
        path, facts = once(f"{name}.safetensors", lambda path: _write(folder, own, path))
        os.utime(path.with_suffix(_USED))
    except StorageError:  # no room for a file: every process has its own copy
        return copied(model)
    mapped: dict[str, Tensor] = load_file(path)
    return mapped | dict(_stored(folder, facts["in the folder"]))


def _write(folder: Path, own: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """Write what the folder does not hold as it was loaded; tells what it does."""
    same = {name for name, stored in _stored(folder, own) if _is_loaded(stored, own[name])}
    others = {name: value.detach().cpu().contiguous() for name, value in own.items() if name not in same}
    _make_room(path.parent, sum(value.nbytes for value in others.values()))
    save_file(others, path)
    return {"in the folder": sorted(same)}


def _make_room(place: Path, size: int) -> None:
    """Delete files of other models, those used least recently first, until `size` bytes fit in."""
    files = []
    for file in place.glob(f"{_FILES}*.safetensors"):
        with suppress(FileNotFoundError):  # another process is at it, too
            files.append((file.with_suffix(_USED).stat().st_mtime, file.stat().st_size, file))
    room = _most(place) - size - sum(bytes_ for _, bytes_, _ in files)
    for _, bytes_, file in sorted(files):
        if room < 0:
            room += bytes_
            file.unlink(missing_ok=True)


def _most(place: Path) -> int:
    return shutil.disk_usage(place).total // 2


def _stored(folder: Path, names: Any) -> Iterator[tuple[str, Tensor]]:
    """Tensors of these names in the folder's weights, mapped into memory."""
    wanted = set(names)
    with ExitStack() as files:
        for path in weight_files(folder):
            file = files.enter_context(safe_open(path, framework="pt"))
            yield from ((name, file.get_tensor(name)) for name in sorted(wanted.intersection(file.keys())))


def _is_loaded(stored: Tensor, value: Tensor) -> bool:
    """Whether a parameter is what is stored, bit for bit; compared where the model lies."""
    return stored.dtype == value.dtype and same_bits(stored.to(value.device), value.detach())
