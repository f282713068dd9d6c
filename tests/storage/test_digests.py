"""Digests of columns: of their values, and of nothing else."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rayci.storage import digests
from rayci.storage.digests import column_digest

STRUCT = pa.struct([("name", pa.string()), ("share", pa.float64())])
COLUMNS: dict[str, tuple[pa.DataType, list[Any], Any]] = {
    "text": (pa.string(), ["a", None, "", "ünïcode", "a"], "b"),
    "bytes": (pa.binary(), [b"\x00", None, b"", b"\xff\x00", b"a"], b"b"),
    "truth": (pa.bool_(), [True, False, None, True, False], True),
    "whole": (pa.int32(), [1, None, -3, 2**31 - 1, 0], 7),
    "number": (pa.float64(), [0.1, None, math.inf, -0.0, 5e-324], 0.0),
    "time": (pa.timestamp("us", tz="UTC"), [datetime(2026, 1, 2, tzinfo=UTC), None] * 2 + [None], datetime.now(UTC)),
    "list": (pa.list_(pa.float64()), [[1.0, 2.0], None, [], [None], [3.0]], [1.0]),
    "structs": (pa.list_(STRUCT), [[{"name": "a", "share": 0.5}], [], None, [None], [{"name": None}]], []),
}
"""Type, values, and a value that stands nowhere among them."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "BLOCK", 2)


def column(name: str) -> pa.ChunkedArray:
    kind, values, _ = COLUMNS[name]
    return pa.chunked_array([values], kind)


def other_slots(array: pa.Array) -> pa.Array:
    """The same numbers with something else in memory where they are null."""
    valid, _ = array.buffers()
    values = np.where(array.is_valid().to_numpy(zero_copy_only=False), array.fill_null(0), 99)
    return pa.Array.from_buffers(array.type, len(array), [valid, pa.py_buffer(values.astype("i4").tobytes())])


@pytest.mark.parametrize("name", COLUMNS)
def test_the_digest_is_of_the_values_alone(name: str) -> None:
    whole = column(name)
    digest = column_digest(name, whole)
    assert column_digest(name, pa.chunked_array([whole.chunk(0).slice(0, 3), whole.chunk(0).slice(3)])) == digest
    offset = pa.chunked_array([COLUMNS[name][1] * 2], whole.type)
    assert column_digest(name, offset.slice(5)) == digest
    if name in ("text", "bytes", "whole"):
        assert column_digest(name, whole.dictionary_encode()) == digest
    if name == "text":
        assert column_digest(name, whole.cast(pa.large_string())) == digest
    if name == "whole":
        assert column_digest(name, pa.chunked_array([other_slots(whole.chunk(0))])) == digest
    assert column_digest("another", whole) != digest


@pytest.mark.parametrize("name", COLUMNS)
def test_every_change_of_a_value_changes_the_digest(name: str) -> None:
    kind, values, other = COLUMNS[name]
    seen = {column_digest(name, column(name)), column_digest(name, pa.chunked_array([values[:-1]], kind))}
    changes = [[*values[:row], change, *values[row + 1 :]] for row, _ in enumerate(values) for change in (other, None)]
    changes = [change for change in [*changes, values[::-1]] if repr(change) != repr(values)]
    for change in changes:
        seen.add(column_digest(name, pa.chunked_array([change], kind)))
    assert len(seen) == 2 + len({repr(change) for change in changes} - {repr(values)})


def test_a_type_that_no_sealed_file_holds() -> None:
    with pytest.raises(TypeError, match="cannot be sealed"):
        column_digest("d", pa.chunked_array([[b"abc"]], pa.binary(3)))
