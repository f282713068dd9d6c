"""Parquet files that carry a checksum over rows and metadata, whatever the encoding of the file.

The checksum of a few rows is that of their JSON; that of many is one digest for each column, some twenty times as
fast, so that a reader who wants some columns reads and checks those alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from rayci.errors import CorruptionError
from rayci.storage.atomic import replacing
from rayci.storage.digests import column_digest
from rayci.storage.urls import UrlFile

File = Path | UrlFile

T = TypeVar("T")

FEW = 1000
"""Rows up to which JSON is the faster one."""

_MANY, _AT_ONCE = 16, 4
"""Files from which on threads pay, and how many threads read."""

_CHECKSUM = b"rayci.checksum"
_BY_COLUMN = b"columns:"
"""What a checksum begins with that is a JSON object: digests by column, and that of the metadata."""


def write(table: pa.Table, path: Path) -> None:
    """Write a table and its checksum: complete under `path`, or not there at all."""
    few = table.num_rows <= FEW
    checksum = _checksum(table) if few else _checksum_by_column(table)
    sealed = table.replace_schema_metadata({**(table.schema.metadata or {}), _CHECKSUM: checksum})
    with replacing(path) as temporary:
        if few:  # without statistics and dictionaries they take less room, and are written faster
            pq.write_table(sealed, temporary, use_dictionary=False, write_statistics=False, write_page_checksum=True)
        else:
            pq.write_table(sealed, temporary, compression="zstd", write_page_checksum=True)


def read(path: File, columns: Sequence[str] | None = None) -> pa.Table:
    """The table as it was written, or these of its columns.

    Raises CorruptionError naming the file where it is another table, or no file at all.
    """
    try:
        with pq.ParquetFile(source(path), page_checksum_verification=True) as file:
            checksum = (file.schema_arrow.metadata or {}).get(_CHECKSUM)
            if checksum is None:
                raise CorruptionError(f"{path}: it has no checksum, so this version of rayci did not write it")
            by_column = checksum.startswith(_BY_COLUMN)
            # A few rows: threads cost more than they read. Their checksum is over all columns.
            sealed = file.read(columns if by_column else None, use_threads=by_column)
        metadata = {key: value for key, value in (sealed.schema.metadata or {}).items() if key != _CHECKSUM}
        table = sealed.replace_schema_metadata(metadata)
        whole = columns is None
        intact = _matches(table, checksum, whole=whole) if by_column else checksum == _checksum(table)
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError) as error:
        raise CorruptionError(f"{path}: not a complete Parquet file ({error})") from error
    if not intact:
        raise CorruptionError(f"{path}: its rows or its metadata do not match its checksum")
    return table if columns is None else table.select(columns)


def each(files: Sequence[File], read: Callable[[File], T]) -> list[T]:
    """What `read` makes of each file; many are read at once, because each waits for its disk or its server."""
    if len(files) < _MANY:
        return [read(file) for file in files]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(read, files))


def source(path: File) -> Any:
    """What pyarrow reads a file from; CorruptionError where it is not there."""
    if isinstance(path, UrlFile):
        return pa.BufferReader(path.read_bytes())
    if not path.is_file():  # nor a pipe, which would never end
        raise CorruptionError(f"{path}: not a file")
    return path


def _checksum(table: pa.Table) -> bytes:
    """Sha256 of the columns as JSON (floats in their shortest exact form) and of the sorted metadata."""
    columns = [[name, table.column(name).to_pylist()] for name in table.schema.names]
    return hashlib.sha256(json.dumps([columns, _metadata(table)], default=str).encode()).hexdigest().encode()


def _checksum_by_column(table: pa.Table) -> bytes:
    digests = {name: column_digest(name, table.column(name)) for name in table.schema.names}
    return (
        _BY_COLUMN + json.dumps({"columns": digests, "metadata": _digest([list(digests), _metadata(table)])}).encode()
    )


def _matches(table: pa.Table, checksum: bytes, *, whole: bool) -> bool:
    """Whether the columns, all of those that were sealed or some, and the metadata are those of the checksum."""
    said = json.loads(checksum.removeprefix(_BY_COLUMN))
    digests, names = said["columns"], table.schema.names
    if said["metadata"] != _digest([list(digests), _metadata(table)]) or (whole and names != list(digests)):
        return False
    return all(digests.get(name) == column_digest(name, table.column(name)) for name in names)


def _metadata(table: pa.Table) -> list[list[str]]:
    return [[key.hex(), value.hex()] for key, value in sorted((table.schema.metadata or {}).items())]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
