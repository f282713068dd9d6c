"""Apply edits, compression and unlearning to a language model in any order, and measure what survives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "apply", "save"]

if TYPE_CHECKING:
    from rayci.export import save
    from rayci.inplace import apply


def __getattr__(name: str) -> Any:
    # `import rayci` must stay cheap: the model code, and with it torch, loads on first use.
    if name == "apply":
        from rayci.inplace import apply

        return apply
    if name == "save":
        from rayci.export import save

        return save
    raise AttributeError(f"module 'rayci' has no attribute {name!r}")
