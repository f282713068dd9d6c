"""Tokens of large corpora, once a node: memory-mapped int32, named by tokenizer, text and how it was cut.

Only text that lies in a file (`MappedDocuments`) is kept so; a small part is tokenised by every process. One line
gives a criterion its ids:

    ids = joined_ids(subject.tokenizer, context.data.part("evaluation"), "\\n\\n")
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rayci.data.mapped_documents import MappedDocuments
from rayci.data.records import Document
from rayci.errors import StorageError
from rayci.fingerprint import fingerprint
from rayci.storage.prepared import once

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TokenIds = npt.NDArray[np.int32]
_SCHEMA = pa.schema([pa.field("ids", pa.large_list(pa.int32()))])
_ROWS = 1024
"""Rows of a batch: what is in memory while a file is written."""
_IDENTITIES: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def joined_ids(tokenizer: PreTrainedTokenizerBase, documents: Sequence[Document], separator: str) -> TokenIds:
    """Ids `[tokens]` of the documents joined by a separator, without special tokens."""

    if isinstance(documents, tuple):
        return _joined(tokenizer, documents, separator)
    how = ["joined", separator]
    return kept_rows(tokenizer, documents, how, lambda: [_encoded(tokenizer, documents, separator)])[0]


@lru_cache(maxsize=4)  # the same after every stage
def _joined(tokenizer: PreTrainedTokenizerBase, documents: tuple[Document, ...], separator: str) -> TokenIds:
    return np.asarray(_encoded(tokenizer, documents, separator), np.int32)


def _encoded(tokenizer: PreTrainedTokenizerBase, documents: Sequence[Document], separator: str) -> list[int]:
    text = separator.join(document.text for document in documents)
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def kept_rows(
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[Document],
    how: Sequence[Any],
    encode: Callable[[], Iterable[Sequence[int]]],
) -> Sequence[TokenIds]:
    """The rows that `encode` makes of documents; from the node's file where they were made before.

    `how` says all that decides the rows beside tokenizer and documents, as JSON values.
    """
    known = identity(tokenizer)
    if known and isinstance(documents, MappedDocuments):
        name = fingerprint(["tokens", known, documents.fingerprint, list(how)])
        with suppress(StorageError):  # no room: every process makes its own
            path, _ = once(f"{name}.arrow", lambda path: _write(encode(), path))
            return _Rows(path)
    return [np.asarray(row, np.int32) for row in encode()]


class _Rows(Sequence[TokenIds]):
    """Rows of a file, mapped into memory."""

    def __init__(self, path: Path) -> None:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        chunks = [reader.get_batch(index).column(0) for index in range(reader.num_record_batches)]
        self._places = [(chunk, row) for chunk in chunks for row in range(len(chunk))]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        chunk, row = self._places[index]
        return chunk[row].values.to_numpy()


def _write(rows: Iterable[Sequence[int]], path: Path) -> dict[str, Any]:
    rest = iter(rows)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
        while some := list(islice(rest, _ROWS)):
            writer.write_batch(pa.record_batch([pa.array(some, _SCHEMA.field(0).type)], schema=_SCHEMA))
    return {}


def identity(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Identity of a tokenizer by all that it says of itself; None for one in Python, whose code may do anything."""
    if not tokenizer.is_fast:
        return None
    if tokenizer not in _IDENTITIES:
        said = json.loads(tokenizer.backend_tokenizer.to_str())
        # What the last call asked for is part of its state.
        said = {key: value for key, value in said.items() if key not in ("padding", "truncation")}
        _IDENTITIES[tokenizer] = fingerprint([type(tokenizer).__qualname__, json.dumps(said, sort_keys=True)])
    return _IDENTITIES[tokenizer]
