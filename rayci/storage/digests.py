"""Digests of the columns of a table: of their values alone, however the values are chunked, encoded or written.

Values are hashed in blocks of `BLOCK` rows, so that a column of many rows is never copied whole. A block is
its validity (one byte where nothing is null), then, by type: numbers little-endian with 0 where null, truth
values packed to bits, strings as lengths and bytes, lists as lengths and their flat values, structs field by field.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

BLOCK = 1 << 16
"""Rows that are hashed at once."""
SIZE = 16
"""Bytes of a digest: it guards against damage, not against an adversary."""


def column_digest(name: str, column: pa.ChunkedArray) -> str:
    """The digest of a column as hexadecimal text; TypeError for a type that no sealed file holds."""
    state = hashlib.sha256(f"{name} {len(column)} ".encode())
    for start in range(0, len(column), BLOCK):
        block = column.slice(start, BLOCK)
        _feed(state, block.chunk(0) if block.num_chunks == 1 else block.combine_chunks())
    return state.hexdigest()[: 2 * SIZE]


def _feed(state: Any, array: Any) -> None:
    """Hash one block; an array of no rows adds nothing, as its length was hashed before."""
    if not len(array):
        return
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.null_count:
        state.update(b"\x00" + np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    else:
        state.update(b"\x01")
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        _feed_texts(state, array, np.int32)
    elif pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        _feed_texts(state, array, np.int64)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = array.value_lengths()
        state.update(_numbers(lengths.fill_null(0), np.int64))
        _feed(state, array.flatten())
    elif pa.types.is_struct(kind):
        for field in array.flatten():
            _feed(state, field)
    elif pa.types.is_boolean(kind):
        state.update(np.packbits(array.fill_null(False).to_numpy(zero_copy_only=False)).tobytes())
    elif pa.types.is_timestamp(kind):
        state.update(_numbers(pc.fill_null(array.cast(pa.int64()), 0), np.int64))
    elif pa.types.is_integer(kind):
        state.update(_numbers(pc.fill_null(array, 0), np.int64))
    elif pa.types.is_floating(kind):
        state.update(_numbers(pc.fill_null(array, 0.0), np.float64))
    elif not pa.types.is_null(kind):
        raise TypeError(f"a column of type {kind} cannot be sealed")


def _numbers(array: Any, kind: type) -> bytes:
    values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values.astype(np.dtype(kind).newbyteorder("<"), copy=False).tobytes()


def _feed_texts(state: Any, array: Any, offset: type) -> None:
    array = array.fill_null("" if pa.types.is_string(array.type) or pa.types.is_large_string(array.type) else b"")
    _, offsets, data = array.buffers()
    places: npt.NDArray[Any] = np.frombuffer(offsets, offset)[array.offset : array.offset + len(array) + 1]
    state.update(np.diff(places).astype("<i8").tobytes())
    if data is not None:
        state.update(memoryview(data)[places[0] : places[-1]])
