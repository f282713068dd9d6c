"""Apply edits, compression and unlearning to a language model in any order, and measure what survives."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "analysis", "apply", "export", "save", "trials", "write_difference"]

if TYPE_CHECKING:
    from rayci import analysis, export, trials
    from rayci.export import save
    from rayci.export.difference import write_difference
    from rayci.inplace import apply

_HOMES = {"apply": "rayci.inplace", "save": "rayci.export", "write_difference": "rayci.export.difference"}
"""Function -> its module."""
_ROOMS = ("analysis", "export", "trials")


def __getattr__(name: str) -> Any:
    # `import rayci` must stay cheap: the model code, and with it torch, loads on first use.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return import_module(f"rayci.{name}")
    raise AttributeError(f"module 'rayci' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
