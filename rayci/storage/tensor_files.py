"""Tensors in a stage store: safetensors, named in an entry that knows their sha256, read as pages of a file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayci.errors import StorageError
from rayci.storage.files import Files

if TYPE_CHECKING:
    from torch import Tensor

_READS = 3
"""How often a node's copy may be evicted while it is read; whoever is slower than that needs a larger cache."""


def most_bytes(tensors: Mapping[str, Tensor]) -> int:
    """At most this many bytes a safetensors file of these tensors takes: data, and a header entry each."""
    return 64 + sum(value.nbytes + len(name.encode()) + 40 * (value.dim() + 3) for name, value in tensors.items())


def write(files: Files, name: str, tensors: Mapping[str, Tensor]) -> str:
    """Store tensors that lie on the CPU, contiguous; returns the file's sha256. StorageError where there is no room."""
    from safetensors.torch import save_file

    return files.put(name, most_bytes(tensors), partial(save_file, dict(tensors)))


def read(files: Files, name: str, entry: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """What was written, by the `sha256` and `bytes` of its entry; None where it was freed meanwhile.

    Raises CorruptionError or SafetensorError for another file, StorageError where this node cannot hold a copy of it.
    """
    for _ in range(_READS):
        path = files.get(name, entry["sha256"], entry["bytes"])
        if path is None:
            return None
        with suppress(FileNotFoundError):  # this node's copy of a remote file was evicted; the file was not
            return _load(path)
    raise StorageError(
        f"{name}: this node's copy was evicted {_READS} times before it was read;"
        " RAYCI_CACHE=/some/folder on a larger disk"
    )


def _load(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except RuntimeError as error:
        if "No such file" in str(error):  # it is opened twice; the second time, torch says it in words
            raise FileNotFoundError(path) from None
        raise
    return tensors
