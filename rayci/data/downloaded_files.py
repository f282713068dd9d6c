"""A folder of downloaded files, named by the variable RAYCI_DATA: looked into before the hub's cache."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from functools import cache
from itertools import chain
from pathlib import Path

from rayci.data.data_set import Content, DataSet
from rayci.data.data_sets import known_sets
from rayci.errors import RequestError
from rayci.storage.user_paths import path_of

VARIABLE = "RAYCI_DATA"


def folder() -> Path | None:
    """The folder, where the variable names one; RequestError where what it names is none."""
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    place = path_of(named, VARIABLE)
    if not place.is_dir():
        raise RequestError(f"{VARIABLE} names no folder: {named}", hint=f"an existing folder, or unset {VARIABLE}")
    return place


def places(known: DataSet, content: Content) -> list[tuple[Path, tuple[str, ...]]]:
    """(folder, patterns) where files may lie: below the data set's name, else in the folder itself.

    In the folder itself only under names that no other data set's file has: `test.jsonl` may be anyone's.
    """
    root = folder()
    if root is None:
        return []
    shared, patterns = _shared(), (*content.patterns, *content.elsewhere)
    below = [(root / name, patterns) for name in dict.fromkeys((known.name, _family(known)))]
    return [*below, (root, tuple(pattern for pattern in patterns if pattern not in shared))]


@cache
def _shared() -> frozenset[str]:
    """Patterns that files of several data sets have."""
    by_family: dict[str, set[str]] = defaultdict(set)
    for known in known_sets().values():
        for content in chain(*known.splits.values()):
            by_family[_family(known)].update((*content.patterns, *content.elsewhere))
    counts = Counter(chain(*by_family.values()))
    return frozenset(pattern for pattern, count in counts.items() if count > 1)


def _family(known: DataSet) -> str:
    """The name without what says in which order the files are read."""
    return known.name.removesuffix("_published")
