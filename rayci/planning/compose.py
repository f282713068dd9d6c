"""Which compositions a sweep holds, and how many, before one is made."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from pydantic import ValidationInfo, field_validator

from rayci.kinds import Kind
from rayci.settings import Strict

Rule = Literal["none", "across_kinds", "within_kinds", "all"]
Groups = tuple[tuple[str, ...], ...]
Pairing = Rule | Groups
"""A rule over kinds; or groups of methods, of which one each is composed."""
_RULES = get_args(Rule)
_LENGTHS = {"pairs": 2, "triples": 3}


class Compose(Strict):
    """Which compositions a sweep holds."""

    pairs: Pairing = "across_kinds"
    """Which methods are paired: `across_kinds` pairs those of different kinds, `[[wanda, sparsegpt], [rtn, gptq]]` each
    of the first group with each of the second."""
    triples: Pairing = "none"
    """The same for three steps, or three groups."""
    orders: Literal["both", "listed"] = "both"
    """Every order, or only the one in which the spec lists the methods."""
    singles: bool = True
    """Whether each method also runs alone."""
    also: tuple[str, ...] = ()
    """Further compositions in text form, `memit > wanda@0.5 > gd`."""
    first: tuple[str, ...] = ()
    """Compositions whose trials start before all others, the first named first; a step without a strength or a
    setting stands for all of its method, so `memit > wanda` for that pair at every sparsity. Changes no result."""

    @field_validator("pairs", "triples", mode="before")
    @classmethod
    def _rule_or_groups(cls, value: Any, info: ValidationInfo) -> Any:
        length = _LENGTHS[str(info.field_name)]
        if isinstance(value, (list, tuple)):
            groups = [group for group in value if isinstance(group, (list, tuple)) and group]
            if len(value) == len(groups) == length and all(isinstance(name, str) for name in itertools.chain(*groups)):
                return tuple(map(tuple, groups))
        elif value in _RULES:
            return value
        raise ValueError(f"neither one of {', '.join(_RULES)} nor {length} lists of methods")

    @property
    def grouped(self) -> Iterator[tuple[str, str]]:
        """(key, method) of every method that stands in a group."""
        for key in _LENGTHS:
            pairing: Pairing = getattr(self, key)
            if not isinstance(pairing, str):
                yield from ((key, name) for name in itertools.chain(*pairing))

    def method_sets(self, kinds: Mapping[str, Kind]) -> Iterator[tuple[str, ...]]:
        """Sets of one, two and three methods that are composed, method -> kind.

        In the order of `kinds`, but for groups, which stand in their own.
        """
        lengths: list[tuple[int, Pairing]] = [(2, self.pairs), (3, self.triples)]
        if self.singles:
            lengths.insert(0, (1, "all"))
        for length, pairing in lengths:
            yield from _sets(length, pairing, kinds)

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


def _sets(length: int, pairing: Pairing, kinds: Mapping[str, Kind]) -> Iterator[tuple[str, ...]]:
    """Sets of as many different methods, each once, in the order in which it comes first."""
    if isinstance(pairing, str):
        yield from (methods for methods in itertools.combinations(kinds, length) if _paired(methods, pairing, kinds))
        return
    seen: set[frozenset[str]] = set()
    for methods in itertools.product(*pairing):
        if len(drawn := frozenset(methods)) == length and drawn not in seen:
            seen.add(drawn)
            yield methods


def _paired(methods: tuple[str, ...], pairing: Rule, kinds: Mapping[str, Kind]) -> bool:
    distinct = len({kinds[method] for method in methods})
    if pairing == "across_kinds":
        return distinct == len(methods)
    if pairing == "within_kinds":
        return distinct == 1
    return pairing == "all"
