"""From a subject, a spec or a run to a checkpoint that transformers and vLLM load, and on to the hub.

>>> import rayci
>>> from rayci import export
>>> subject = rayci.apply("testbed", "wanda@0.25 > gptq@4")
>>> export.save(subject, "pruned-then-quantised")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayci.export.checkpoint import save
    from rayci.export.hub import push

__all__ = ["push", "save"]

_HOMES = {"push": "hub", "save": "checkpoint"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"rayci.export.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'rayci.export' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
