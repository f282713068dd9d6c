"""Parquet files that carry a checksum over rows and metadata, whatever the encoding of the file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rayci.errors import CorruptionError
from rayci.storage.atomic import replacing

_CHECKSUM = b"rayci.checksum"


def write(table: pa.Table, path: Path) -> None:
    """Write a small table and its checksum: complete under `path`, or not there at all."""
    sealed = table.replace_schema_metadata({**(table.schema.metadata or {}), _CHECKSUM: _checksum(table)})
    with replacing(path) as temporary:
        # Without statistics and dictionaries a few rows take less room, and are written faster.
        pq.write_table(sealed, temporary, use_dictionary=False, write_statistics=False, write_page_checksum=True)


def read(path: Path) -> pa.Table:
    """The table as it was written; CorruptionError naming the file where it is another, or no file at all."""
    if not path.is_file():  # nor a pipe, which would never end
        raise CorruptionError(f"{path}: not a file")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            sealed = file.read(use_threads=False)  # a few rows: threads cost more than they read
        metadata = dict(sealed.schema.metadata or {})
        checksum = metadata.pop(_CHECKSUM, None)
        table = sealed.replace_schema_metadata(metadata)
        intact = checksum == _checksum(table)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptionError(f"{path}: not a complete Parquet file ({error})") from error
    if checksum is None:
        raise CorruptionError(f"{path}: it has no checksum, so this version of rayci did not write it")
    if not intact:
        raise CorruptionError(f"{path}: its rows or its metadata do not match its checksum")
    return table


def _checksum(table: pa.Table) -> bytes:
    """Sha256 of the columns as JSON (floats in their shortest exact form) and of the sorted metadata."""
    columns = [[name, table.column(name).to_pylist()] for name in table.schema.names]
    metadata = [[key.hex(), value.hex()] for key, value in sorted((table.schema.metadata or {}).items())]
    return hashlib.sha256(json.dumps([columns, metadata], default=str).encode()).hexdigest().encode()
