"""Files of records, row by row, each row with its place: JSON Lines, JSON arrays, Parquet, Arrow and CSV.

Text is streamed and Arrow is memory-mapped, so that a file takes the memory of one row; a JSON array is read
as a whole. `.gz` and `.zst` are unpacked on the way.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from rayci.errors import DataError
from rayci.storage.user_paths import unreadable

MAX_LINE = 1 << 26
"""Bytes of a line; a longer one is no record but a file without line ends."""
MAX_ARRAY = 1 << 30
"""Bytes of a JSON array, which is read as a whole."""
LINES = "JSON Lines, one record a line"
_BATCH = 256
_START = 256
_NO_DATA = {
    b"version https://git-lfs": ("a pointer of Git LFS", "git lfs pull"),
    b"<!doctype html": ("a web page", "fetch the file itself, with a login where it is gated"),
    b"<html": ("a web page", "fetch the file itself, with a login where it is gated"),
}
"""First bytes, in small letters, of what is often saved in place of data."""
_PACKED = (".gz", ".zst")
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".arrow", ".txt", *_PACKED)
"""Endings by which a text in a spec is known to be a file."""

Row = tuple[str, Any]
"""(place for messages, value): a mapping, or whatever else stands there."""


def rows(path: Path, *, plain_lines: bool = False) -> Iterator[Row]:
    """The rows of a file; DataError with the place where the file, or a row of it, cannot be read.

    With `plain_lines` a line that is no JSON is a row of its own: the text. So is every line, empty ones too, of a
    file whose name says nothing of JSON.
    """
    reason = unreadable(path)
    if reason:
        raise DataError(f"cannot read the data file: {reason}", at=str(path), hint=LINES)
    name = path.name.removesuffix(path.suffix) if path.suffix in _PACKED else path.name
    suffix = Path(name).suffix
    if suffix in (".parquet", ".arrow"):
        return _arrow(path, suffix)
    if suffix == ".csv":
        return _csv(path)
    if plain_lines and suffix not in (".json", ".jsonl"):
        return _plain(path)
    return _json(path, plain_lines, may_be_array=suffix == ".json")


def _plain(path: Path) -> Iterator[Row]:
    _start(path)
    for number, line in _lines(path):
        yield f"{path}:{number}", line.rstrip("\r\n")


def _json(path: Path, plain_lines: bool, may_be_array: bool) -> Iterator[Row]:
    start = _start(path)
    if may_be_array and start.startswith(b"["):
        yield from _array(path)
        return
    for number, line in _lines(path):
        if line.strip():
            yield f"{path}:{number}", _parsed(line, f"{path}:{number}", plain_lines)


def _start(path: Path) -> bytes:
    """The first bytes that say something; DataError where they say that these are no data."""
    with _opened(path) as stream:
        start: bytes = _guarded(lambda: stream.read(_START), f"{path}:1").removeprefix(codecs.BOM_UTF8).lstrip()
    for sign, (what, hint) in _NO_DATA.items():
        if start.lower().startswith(sign):
            raise DataError(f"the data file is {what}", at=f"{path}:1", hint=hint)
    return start


def _array(path: Path) -> Iterator[Row]:
    too_large = DataError("the JSON array is larger than 1 GiB", at=str(path), hint=f"{LINES}, or Parquet")
    if path.stat().st_size > MAX_ARRAY:
        raise too_large
    with _opened(path) as stream:
        whole = _guarded(lambda: stream.read(MAX_ARRAY + 1), str(path))
    if len(whole) > MAX_ARRAY:
        raise too_large
    for number, value in enumerate(_parsed(_decoded(whole, str(path)), str(path), False), start=1):
        yield f"{path}: record {number}", value


def _parsed(text: str, place: str, plain_lines: bool) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_record)
    except RecursionError:
        raise DataError("the record cannot be read: too deeply nested", at=place) from None
    except ValueError as error:
        if plain_lines and not text.lstrip().startswith(("{", '"')):
            return text.rstrip("\r\n")
        raise DataError(f"the record cannot be read: {error}", at=place) from None


def _record(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return record


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines, not cut at U+2028, which JSON may hold."""
    with _opened(path) as stream:
        number = 0
        while line := _guarded(lambda: stream.readline(MAX_LINE + 1), f"{path}:{number + 1}"):
            number += 1
            if len(line) > MAX_LINE:
                raise DataError(f"the line is longer than {MAX_LINE >> 20} MiB", at=f"{path}:{number}", hint=LINES)
            yield number, _decoded(line, f"{path}:{number}")


def _csv(path: Path) -> Iterator[Row]:
    with _opened(path) as stream:
        reader = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), strict=True)
        while (row := _guarded(lambda: next(reader, None), f"{path}:{reader.line_num + 1}")) is not None:
            place = f"{path}:{reader.line_num}"
            if None in row or None in row.values():
                raise DataError(f"the row has not the {len(reader.fieldnames or ())} columns of the header", at=place)
            yield place, row


def _arrow(path: Path, suffix: str) -> Iterator[Row]:
    import pyarrow as pa

    number = 0
    try:
        for batch in _batches(path, suffix):
            for value in _values(batch):
                number += 1
                yield f"{path}: row {number}", value
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        after = f" after row {number}" if number else ""
        raise DataError(f"cannot read the data file{after}: {reason}", at=str(path), hint="fetch it again") from None


def _values(batch: Any) -> Iterator[Any]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:  # before any was given: row by row, so that those before it are counted
        for index in range(batch.num_rows):
            yield from batch.slice(index, 1).to_pylist()


def _batches(path: Path, suffix: str) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if suffix == ".parquet":
        with pq.ParquetFile(path, memory_map=True) as file:
            yield from file.iter_batches(_BATCH)
        return
    with pa.memory_map(str(path)) as source:
        try:
            reader = pa.ipc.open_file(source)
            yield from (reader.get_batch(index) for index in range(reader.num_record_batches))
        except pa.ArrowInvalid:
            source.seek(0)
            yield from pa.ipc.open_stream(source)


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path))
    if path.suffix == ".zst":
        import pyarrow as pa

        packed = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
        return io.BufferedReader(cast("io.RawIOBase", packed))
    return path.open("rb")


def _guarded(read: Any, place: str) -> Any:
    """What a read gives; DataError for a file that breaks off, or is not what its name says."""
    try:
        return read()
    except UnicodeDecodeError:
        raise DataError("cannot read the data file: not UTF-8 text", at=place, hint=LINES) from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"cannot read the data file: {error}", at=place, hint="fetch it again") from None


def _decoded(text: bytes, place: str) -> str:
    return str(_guarded(lambda: text.decode("utf-8-sig"), place))
