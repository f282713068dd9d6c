"""Out of memory: how it is told from other errors, and what smaller work is."""

from __future__ import annotations

import gc
from typing import TypeVar

import torch

from rayci.settings import Settings

S = TypeVar("S", bound=Settings)

_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory")


def ran_out(error: BaseException) -> bool:
    """Whether an error means that memory did not suffice, on a GPU or on the host."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # torch on a CPU, and CUDA's libraries, say it in a RuntimeError's text alone
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS)


def smaller(settings: S) -> tuple[S, str] | None:
    """The same settings with halved batches, and which they are; None where all are at their least already.

    Only fields marked `Speed` change, which do not change results.
    """
    values = {name: (getattr(settings, name), mark.least) for name, mark in sorted(settings.speed_marks().items())}
    halved = {
        name: value // 2 for name, (value, least) in values.items() if isinstance(value, int) and value // 2 >= least
    }
    if not halved:
        return None
    return settings.model_copy(update=halved), ", ".join(f"{name} = {value}" for name, value in halved.items())


def release_memory() -> None:
    """Give back what a failed attempt still holds."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
