"""Text that two parts of the data share, found by hashes of its words.

Documents share text where 50 words in a row are the same (see `rayci.data.word_hashes` for what a word is),
or where all are, of a document of 8 to 49 words; shorter ones are headings and phrases that stand everywhere.
Every part is hashed once, the smallest first. Of it, the hash of every 25th run of 25 words is kept: any 50 words
hold one of these whole, so whichever document of a later part shares a run of 50 meets one. The documents that
met are then compared run by run, so that what is said is exact. What is kept is about a tenth of the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from rayci.data.data_presets import Pair
from rayci.data.records import Collection, Document
from rayci.data.word_hashes import Hashes, Indices, Words, words

COMPARED = ("forget", "retain", "finetune", "calibration", "covariance_text", "evaluation", "wikitext")
"""Parts that are compared."""
RUN = 50
"""Words in a row that make an overlap."""
LEAST = 8
"""Words of a document that is compared as a whole."""
_BLOCK = RUN // 2
"""Words of the runs whose hashes are kept, and how far these lie apart."""
_MOST = 10_000
"""Documents of either part that are compared run by run; that there are more is said."""
_BOTH_MEASURED = ("evaluation", "wikitext")
"""Parts that nothing is trained on: they may share text."""
_SHOWN = 60
"""Characters of a shared text that a message shows."""


@dataclass(frozen=True)
class Overlap:
    """What two parts share."""

    parts: Pair
    documents: tuple[int, int]
    """Documents of each that hold some of it."""
    runs: int
    """Different runs of 50 words, and different short documents, that both hold."""
    first: tuple[int, int]
    """A document of each, counted from 1, that hold the same text."""
    text: str
    """The beginning of that text."""
    more: bool
    """Whether not all documents were compared to their ends, so that the numbers are the least."""


def overlaps(data: Collection, allowed: Iterable[Pair] = ()) -> list[Overlap]:
    """What any two parts share, but for pairs that may; a part that another stands in for was not supplied."""
    supplied = [part for part in COMPARED if getattr(data, part)]
    apart = [{*_BOTH_MEASURED}, *map(set, allowed)]
    pairs = [pair for pair in combinations(supplied, 2) if set(pair) not in apart]
    by_size = sorted({part for pair in pairs for part in pair}, key=lambda part: (_size(getattr(data, part)), part))
    indices: dict[str, _Index] = {}
    found = []
    for part in by_size:
        others = {other: indices[other] for other in indices if (other, part) in pairs or (part, other) in pairs}
        met, indices[part] = _read(getattr(data, part), others)
        for other, (own, theirs) in met.items():
            pair = (other, part) if (other, part) in pairs else (part, other)
            of_part = {part: own, other: theirs}
            found.append(_compared(data, pair, of_part[pair[0]], of_part[pair[1]]))
    return sorted(filter(None, found), key=lambda overlap: pairs.index(overlap.parts))


def _size(documents: Sequence[Document]) -> int:
    return sum(len(document.text) for document in documents)


@dataclass(frozen=True)
class _Index:
    """Hashes of blocks and short documents of one part, each with its document; ascending by hash."""

    keys: Hashes
    documents: Indices

    def found(self, hashes: Hashes) -> Indices:
        """Indices of the hashes that are among the keys."""
        if not len(self.keys):
            return np.empty(0, np.int64)
        place = np.searchsorted(self.keys, hashes)
        place[place == len(self.keys)] = 0
        return np.flatnonzero(self.keys[place] == hashes)

    def holding(self, hashes: Hashes) -> Indices:
        """The documents that have any of the hashes, ascending."""
        return np.unique(self.documents[np.isin(self.keys, hashes)])


class _Sieve:
    """Lets through every hash that is in one of some indices, and few others: a table of their first bits."""

    def __init__(self, indices: Iterable[_Index]) -> None:
        keys = [index.keys for index in indices]
        bits = min(27, max(10, sum(map(len, keys)).bit_length() + 4))
        self._shift = np.uint64(64 - bits)
        self._known = np.zeros(1 << bits, bool)
        for hashes in keys:
            self._known[hashes >> self._shift] = True

    def likely(self, hashes: Hashes) -> Indices:
        """Indices of the hashes that are let through."""
        return np.flatnonzero(self._known[hashes >> self._shift])


def _read(
    documents: Sequence[Document], others: dict[str, _Index]
) -> tuple[dict[str, tuple[Indices, Indices]], _Index]:
    """Other part -> (documents here, documents there) that may share text; and the index of this part."""
    sieve = _Sieve(others.values())
    met: dict[str, list[tuple[Hashes, Indices]]] = {other: [] for other in others}
    kept: list[tuple[Hashes, Indices]] = []
    for batch in words((number, document.text) for number, document in enumerate(documents)):
        blocks, first = batch.runs(_BLOCK)
        short, begins = batch.short(LEAST, RUN - 1)
        hashes, places = np.concatenate([blocks, short]), batch.document[np.concatenate([first, begins])]
        own = np.concatenate([batch.place[first] % _BLOCK == 0, np.ones(len(short), bool)])
        kept.append((hashes[own], places[own]))
        likely = sieve.likely(hashes)
        hashes, places = hashes[likely], places[likely]
        for other, index in others.items():
            same = index.found(hashes)
            met[other].append((hashes[same], places[same]))
    pairs = {other: _joined(pieces) for other, pieces in met.items()}
    keys, holders = _joined(kept)
    order = np.argsort(keys)
    shared = {other: (np.unique(at), others[other].holding(hashes)) for other, (hashes, at) in pairs.items() if len(at)}
    return shared, _Index(keys[order], holders[order])


def _joined(pieces: Sequence[tuple[Hashes, Indices]]) -> tuple[Hashes, Indices]:
    return np.concatenate([hashes for hashes, _ in pieces]), np.concatenate([places for _, places in pieces])


def _compared(data: Collection, parts: Pair, one: Indices, other: Indices) -> Overlap | None:
    """What these documents share, run by run; None where it is nothing."""
    more = max(len(one), len(other)) > _MOST
    texts = [_texts(getattr(data, part), chosen[:_MOST]) for part, chosen in zip(parts, (one, other), strict=True)]
    theirs = np.unique(np.concatenate([hashes for _, hashes, _ in _marks(texts[1]())]))
    shared = np.concatenate([hashes[np.isin(hashes, theirs)] for _, hashes, _ in _marks(texts[0]())])
    if not len(shared):
        return None
    both = np.unique(shared)
    (count, first, text), (other_count, other_first, _) = (_holders(text, both, shared[0]) for text in texts)
    return Overlap(parts, (count, other_count), len(both), (first + 1, other_first + 1), text, more)


def _texts(documents: Sequence[Document], chosen: Indices) -> Callable[[], Iterator[tuple[int, str]]]:
    return lambda: ((int(number), documents[number].text) for number in chosen)


def _marks(texts: Iterator[tuple[int, str]]) -> Iterator[tuple[Words, Hashes, Indices]]:
    """(words, hashes, first word of each) of all that an overlap may consist of."""
    for batch in words(texts):
        runs, short = batch.runs(RUN), batch.short(LEAST, RUN - 1)
        yield batch, np.concatenate([runs[0], short[0]]), np.concatenate([runs[1], short[1]])


def _holders(texts: Callable[[], Iterator[tuple[int, str]]], both: Hashes, shown: np.uint64) -> tuple[int, int, str]:
    """How many documents hold any of these; of one of them the first that holds it, and its text."""
    holders: set[int] = set()
    first, text = -1, ""
    for batch, hashes, begins in _marks(texts()):
        holders.update(batch.document[begins[np.isin(hashes, both)]].tolist())
        places = begins[hashes == shown]
        if first < 0 and len(places):
            first, start = int(batch.document[places[0]]), int(batch.start[places[0]])
            text = batch.text[start : start + 4 * _SHOWN].decode("utf-8", "ignore").partition("\n")[0][:_SHOWN]
    return len(holders), first, text
