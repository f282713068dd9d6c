"""Which compositions a sweep holds, and how many, before one is made."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Literal

from rayci.kinds import Kind
from rayci.settings import Strict

Pairing = Literal["none", "across_kinds", "within_kinds", "all"]


class Compose(Strict):
    """Which compositions a sweep holds."""

    pairs: Pairing = "across_kinds"
    """Which methods are paired; `across_kinds` pairs methods of different kinds."""
    triples: Pairing = "none"
    """The same for three steps."""
    orders: Literal["both", "listed"] = "both"
    """Every order, or only the one in which the spec lists the methods."""
    singles: bool = True
    """Whether each method also runs alone."""
    also: tuple[str, ...] = ()
    """Further compositions in text form, `memit > wanda@0.5 > gd`."""
    first: tuple[str, ...] = ()
    """Compositions whose trials start before all others, the first named first; a step without a strength or a
    setting stands for all of its method, so `memit > wanda` for that pair at every sparsity. Changes no result."""

    def method_sets(self, kinds: Mapping[str, Kind]) -> Iterator[tuple[str, ...]]:
        """Sets of one, two and three methods that are composed, in the order of `kinds`, method -> kind."""
        lengths: list[tuple[int, Pairing]] = [(2, self.pairs), (3, self.triples)]
        if self.singles:
            lengths.insert(0, (1, "all"))
        for length, pairing in lengths:
            for methods in itertools.combinations(kinds, length):
                if _paired(methods, pairing, kinds):
                    yield methods

    def orderings(self, methods: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """The orders in which a set of methods is applied."""
        return itertools.permutations(methods) if self.orders == "both" else iter([methods])

    def count(self, kinds: Mapping[str, Kind], variants: Mapping[str, int]) -> int:
        """How many compositions these are, where a method comes in so many `variants`."""
        return len(self.also) + sum(
            math.prod(variants[method] for method in methods)
            * (math.factorial(len(methods)) if self.orders == "both" else 1)
            for methods in self.method_sets(kinds)
        )


def _paired(methods: tuple[str, ...], pairing: Pairing, kinds: Mapping[str, Kind]) -> bool:
    distinct = len({kinds[method] for method in methods})
    if pairing == "across_kinds":
        return distinct == len(methods)
    if pairing == "within_kinds":
        return distinct == 1
    return pairing == "all"
