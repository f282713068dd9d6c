"""Tensors of safetensors files by name: headers are read at once, values one at a time and when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from rayci.errors import InterventionError, RequestError
from rayci.model.integrity import listed, reading

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of one tensor."""

    path: Path
    shape: tuple[int, ...]
    dtype: str
    """As safetensors spells it."""


class TensorFiles:
    """Every tensor of some files; RequestError for one that is no whole safetensors file, or a name that is twice."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.headers: dict[str, Header] = {}
        self.metadata: dict[str, str] = {}
        """What the files say beside their tensors."""
        for path in files:
            with reading(path), safe_open(path, framework="pt", backend="pread") as file:
                self.metadata |= file.metadata() or {}
                found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
                headers = {n: Header(path, tuple(s.get_shape()), s.get_dtype()) for n, s in found.items()}
            if twice := headers.keys() & self.headers.keys():
                raise RequestError(f"{path.parent} holds {listed(twice)} twice", allowed="each tensor in one file")
            self.headers |= headers
        odd = [f"{name} ({header.dtype})" for name, header in self.headers.items() if header.dtype not in FLOATS]
        if odd:
            raise RequestError(f"{len(odd)} tensors are no floating point: {listed(odd)}", allowed=", ".join(FLOATS))

    def read(self, name: str) -> Tensor:
        """The tensor on the CPU, as it is stored; InterventionError where it holds NaN or infinite numbers."""
        path = self.headers[name].path
        with safe_open(path, framework="pt") as file:
            value: Tensor = file.get_tensor(name)
        if not bool(torch.isfinite(value).all()):
            raise InterventionError(f"{name} of {path} holds NaN or infinite numbers")
        return value


def safetensors_of(folder: Path) -> list[Path]:
    """The safetensors files of a folder by name; RequestError where there are none."""
    files = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    if not files:
        pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        if pickles:
            raise RequestError(
                f"{folder} holds pickles alone, which may run code when they are read: {listed(pickles)}",
                allowed="safetensors",
                hint="save_pretrained(…) of a version that writes safetensors",
            )
        raise RequestError(f"{folder} holds no safetensors file", allowed="*.safetensors")
    return files
