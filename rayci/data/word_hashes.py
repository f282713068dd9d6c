"""Texts as hashes of runs of words, in numpy, a few megabytes at a time.

A word is a run of ASCII letters and digits, capitals as small, and of anything beyond ASCII, where a
character from U+3000 on (of scripts that set no blanks) begins a word of its own; general punctuation
(U+2000 to U+207F) and all other ASCII part words. Hashes are polynomials over bytes and over words modulo
2^64, mixed at the end; the sum of a run comes from two prefix sums (Rabin and Karp 1987), so that every run
costs the same whatever its length. Equal runs have equal hashes; of n different ones n²/2^65 pairs collide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]

_BATCH = 1 << 18
"""Bytes of text that are hashed at once; what lies between stays in the processor's cache."""
_PIECE = 1 << 21
"""Characters of a document that are looked at together; a longer one is cut into pieces that overlap."""
_OVERLAP = 1 << 13
"""Characters that two pieces share: more than a run of words that is looked for has."""
_BASE = np.uint64(0x9E3779B97F4A7C15 | 1)
_INVERSE = np.uint64(pow(int(_BASE), -1, 1 << 64))


@dataclass(frozen=True)
class Words:
    """The words of some documents, one after the other."""

    hashes: Hashes
    """`[words]`"""
    document: Indices
    """Index of the document that each stands in, ascending, `[words]`."""
    place: Indices
    """Number of each within its document, or its piece of it, `[words]`."""
    start: Indices
    """First byte of each in the text, `[words]`."""
    stop: Indices
    """Byte after the last of each, `[words]`."""
    text: bytes

    def runs(self, length: int) -> tuple[Hashes, Indices]:
        """(hash, index of the first word) of every run of so many words within one document."""
        if len(self.hashes) < length:
            return np.empty(0, np.uint64), np.empty(0, np.int64)
        first = np.flatnonzero(self.place[length - 1 :] - self.place[: 1 - length] == length - 1)
        return _sums(self.hashes, first, first + length), first

    def short(self, least: int, most: int) -> tuple[Hashes, Indices]:
        """(hash of all words, index of the first word) of the documents that have from `least` to `most` words."""
        first = np.flatnonzero(self.place == 0)
        last = np.append(first[1:], len(self.place))
        fits = (last - first >= least) & (last - first <= most)
        return _sums(self.hashes, first[fits], last[fits]), first[fits]


def words(texts: Iterable[tuple[int, str]]) -> Iterator[Words]:
    """The words of (index, text) pairs, in batches; a document stands in one, unless it is very long."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    for index, text in texts:
        for piece in _pieces(text):
            encoded = piece.encode("utf-8", "surrogatepass")
            if size + len(encoded) > _BATCH and batch:
                yield _words(batch)
                batch, size = [], 0
            batch.append((index, encoded))
            size += len(encoded)
    if batch:
        yield _words(batch)


def _pieces(text: str) -> Iterator[str]:
    if len(text) <= _PIECE:
        yield text
        return
    for start in range(0, len(text) - _OVERLAP, _PIECE - _OVERLAP):
        yield text[start : start + _PIECE]


def _words(batch: list[tuple[int, bytes]]) -> Words:
    text = b"\n".join(encoded for _, encoded in batch) + b"\n"
    values = np.frombuffer(text, np.uint8)
    inside = _INSIDE[values]
    _part_at_punctuation(values, inside)
    begins, ends = inside.copy(), inside.copy()
    begins[1:] &= ~inside[:-1] | (values[1:] >= 0xE3)
    ends[:-1] &= ~inside[1:] | begins[1:]
    start, stop = np.flatnonzero(begins), np.flatnonzero(ends) + 1
    lengths = np.fromiter((len(encoded) + 1 for _, encoded in batch), np.int64, len(batch))
    first = np.searchsorted(start, np.cumsum(lengths) - lengths)
    counts = np.diff(first, append=len(start))
    numbers = np.fromiter((index for index, _ in batch), np.int64, len(batch))
    place = np.arange(len(start)) - np.repeat(first, counts)
    return Words(_sums(_SMALL[values], start, stop), np.repeat(numbers, counts), place, start, stop, text)


def _part_at_punctuation(values: NDArray[np.uint8], inside: NDArray[np.bool_]) -> None:
    """Take U+2000 to U+207F, which are E2 80 xx and E2 81 xx, out of the words."""
    lead = np.flatnonzero(values[:-2] == 0xE2)
    lead = lead[(values[lead + 1] == 0x80) | (values[lead + 1] == 0x81)]
    for offset in range(3):
        inside[lead + offset] = False


def _sums(values: Hashes, start: Indices, stop: Indices) -> Hashes:
    """Mixed hash of values[start:stop] for every pair: Σ values[i]·base^(i − start), from prefix sums."""
    count = len(values)
    prefix = np.zeros(count + 1, np.uint64)
    np.cumsum(values * _powers(_BASE, count), out=prefix[1:])
    return _mixed((prefix[stop] - prefix[start]) * _powers(_INVERSE, count)[start])


def _mixed(values: Hashes) -> Hashes:
    """The finaliser of SplitMix64: all bits of a hash depend on all of its sum's."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = values ^ (values >> np.uint64(31))
    return mixed


_held: dict[int, Hashes] = {}


def _powers(base: np.uint64, count: int) -> Hashes:
    """base^0 … base^(count−1) modulo 2^64."""
    held = _held.get(int(base))
    if held is None or len(held) < count:
        held = np.full(max(count, 2 * _BATCH), base, np.uint64)
        held[0] = 1
        held = _held[int(base)] = np.cumprod(held)
    return held[:count]


_ASCII_WORD = np.zeros(256, bool)
_ASCII_WORD[[*range(48, 58), *range(65, 91), *range(97, 123)]] = True
_INSIDE = _ASCII_WORD.copy()
_INSIDE[128:] = True
_SMALL = np.arange(256, dtype=np.uint64) + np.uint64(1)
_SMALL[65:91] += np.uint64(32)
