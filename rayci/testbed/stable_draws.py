"""Seeded draws that give the same result on every Python version and platform."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """A generator for one purpose.

    Only `random.Random.random()` is promised to be reproducible across Python versions,
    so every draw is made from it and nothing else.
    """

    def __init__(self, seed: int, purpose: str) -> None:
        self._source = random.Random(f"{seed}:{purpose}")

    def below(self, bound: int) -> int:
        """A whole number in [0, bound)."""
        return int(self._source.random() * bound)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._source.random() < probability

    def pick(self, items: Sequence[T]) -> T:
        """One item, all equally likely."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All items in a random order."""
        mixed = list(items)
        for last in range(len(mixed) - 1, 0, -1):
            other = self.below(last + 1)
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different items in random order."""
        return self.shuffled(items)[:count]
