"""The embedded testbed: a small invented world, its texts and questions, and a Llama that knows it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from rayci.data.records import Collection

__all__ = ["checkpoint", "collection", "retrained_checkpoint"]


def checkpoint() -> Path:
    """The folder of the shipped checkpoint; loads with transformers' Auto classes."""
    return Path(__file__).parent / "checkpoint"


def retrained_checkpoint() -> Path:
    """The folder of the same model trained without the hazardous topic: what exact unlearning would leave."""
    return Path(__file__).parent / "retrained"


@lru_cache(maxsize=1)
def collection() -> Collection:
    """Everything a sweep can read about the testbed's world; the same on every machine, no torch needed."""
    from rayci.testbed.assembly import build

    return build()
