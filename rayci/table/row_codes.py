"""Rows as numbers: equal where their columns are, in their order, so that tables sort and match without Python."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rayci.table.stored_rows import Rows

Codes = npt.NDArray[np.int64]

_ROOM = 2**62


def row_codes(rows: Rows, names: Iterable[str], *, ranked: bool = True) -> Codes:
    """int64 `[rows]`: two rows compare by these columns as their codes do; null comes last.

    Not `ranked`: values count in the order in which they first occur, which spares sorting them.
    """
    codes, size = np.zeros(rows.num_rows, dtype=np.int64), 1
    for name in names:
        ranks, count = _ranks(rows.column(name), ranked=ranked)
        if size * count >= _ROOM:
            known, codes = np.unique(codes, return_inverse=True)
            size = len(known)
        codes, size = codes * count + ranks, size * count
    return codes


def all_differ(codes: Codes) -> bool:
    """Whether no two rows are equal; fast where codes rise already."""
    if (codes[1:] > codes[:-1]).all():
        return True
    in_order = np.sort(codes)
    return not (in_order[1:] == in_order[:-1]).any()


def _ranks(column: pa.ChunkedArray, *, ranked: bool) -> tuple[Codes, int]:
    """The place of each value among the column's distinct ones, and how many those are."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode(null_encoding="encode")
    encoded = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    values = encoded.dictionary
    rank = np.arange(len(values) + 1)  # the last is that of a null among the indices
    if ranked:
        rank[pc.sort_indices(values).to_numpy()] = np.arange(len(values))
    return rank[pc.fill_null(encoded.indices, len(values)).to_numpy(zero_copy_only=False)], len(values) + 1


def in_order(rows: pa.Table, names: Iterable[str]) -> pa.Table:
    """The rows sorted by these columns; as they are where they are sorted."""
    codes = row_codes(rows, names)
    if (codes[1:] >= codes[:-1]).all():
        return rows
    return rows.take(pa.array(np.argsort(codes, kind="stable")))
