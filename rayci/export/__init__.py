"""From a subject, a spec or a run to a checkpoint that transformers and vLLM load, and on to the hub.

>>> import rayci
>>> from rayci import export
>>> export.save(rayci.apply("testbed", "wanda@0.25 > gptq@4"), "pruned-then-quantised")
>>> built = export.build(export.of_run("runs/quickstart", only="ft > rtn@4", replicate=2))
>>> export.save(built.subject, "edited-then-quantised", origin=built.origin)
>>> export.push("edited-then-quantised", "owner/name", private=True)
>>> said = list(export.inspect(export.of_model("testbed", "ft > rtn@4"), ["The capital of"], top=3))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayci.export.building import build
    from rayci.export.checkpoint import save
    from rayci.export.from_run import of_run
    from rayci.export.hub import push
    from rayci.export.inspection import inspect
    from rayci.export.wanted import of_model, of_spec

__all__ = ["build", "inspect", "of_model", "of_run", "of_spec", "push", "save"]

_HOMES = {
    "build": "building",
    "inspect": "inspection",
    "of_model": "wanted",
    "of_run": "from_run",
    "of_spec": "wanted",
    "push": "hub",
    "save": "checkpoint",
}
"""Public function -> its module."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"rayci.export.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'rayci.export' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
