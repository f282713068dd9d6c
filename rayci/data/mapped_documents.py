"""Documents that stay in a file: mapped into memory, shared by all processes of a node, decoded one at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, overload

import pyarrow as pa

from rayci.data.records import Document, identity
from rayci.errors import CorruptionError
from rayci.fingerprint import ListFingerprint

_SCHEMA = pa.schema([pa.field("text", pa.large_string()), pa.field("topic", pa.string())])
_ROWS = 1024
"""Rows of a batch: what is in memory while a file is written."""


def write(documents: Iterable[Document], path: Path) -> str:
    """Write documents to a file, some at a time; returns their fingerprint, that of the same documents as a list."""
    digest, rest = ListFingerprint(), iter(documents)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
        while some := list(islice(rest, _ROWS)):
            for document in some:
                digest.add(identity(document))
            columns = [[document.text for document in some], [document.topic for document in some]]
            writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))
    return digest.hexdigest()


def fingerprint_of(records: Iterable[Any]) -> str:
    """Fingerprint of records as a list of their values; known already where they lie in a file."""
    if isinstance(records, MappedDocuments):
        return records.fingerprint
    digest = ListFingerprint()
    for record in records:
        digest.add(identity(record))
    return digest.hexdigest()


@dataclass(frozen=True, eq=False, repr=False)
class MappedDocuments(Sequence[Document]):
    """What `write` wrote, in place of the tuple of these documents: equal to it, with its hash; a slice is a tuple."""

    path: Path
    fingerprint: str
    """That of the documents as a list, so that nobody who opens the file has to hash them."""

    @cached_property
    def _batches(self) -> tuple[Any, ...]:
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(self.path)))
            return tuple(reader.get_batch(index) for index in range(reader.num_record_batches))
        except (pa.ArrowException, OSError) as error:
            raise CorruptionError(f"{self.path}: {error}; delete it, and it is made anew") from None

    @cached_property
    def _ends(self) -> list[int]:
        ends, total = [], 0
        for batch in self._batches:
            ends.append(total := total + batch.num_rows)
        return ends

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Document, ...]: ...
    def __getitem__(self, index: int | slice) -> Document | tuple[Document, ...]:
        places = range(len(self))[index]
        return self._at(places) if isinstance(places, int) else tuple(map(self._at, places))

    def _at(self, place: int) -> Document:
        number = bisect_right(self._ends, place)
        row = place - (self._ends[number - 1] if number else 0)
        text, topic = (column[row].as_py() for column in self._batches[number].columns)
        return Document(text, topic)

    def __iter__(self) -> Iterator[Document]:
        for batch in self._batches:
            yield from map(Document, *(column.to_pylist() for column in batch.columns))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, MappedDocuments):
            return self.fingerprint == other.fingerprint
        return isinstance(other, tuple) and len(self) == len(other) and all(map(Document.__eq__, self, other))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(tuple(self))  # the tuple is gone again when this returns

    def __add__(self, other: Sequence[Document]) -> tuple[Document, ...]:
        return (*self, *other)

    def __radd__(self, other: Sequence[Document]) -> tuple[Document, ...]:
        return (*other, *self)

    def __repr__(self) -> str:
        return f"<{len(self)} documents in {self.path}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedDocuments, (self.path, self.fingerprint)
