"""The composability table and where the time went inside the page, to be saved from it: CSV, LaTeX, Parquet."""

from __future__ import annotations

import base64
import gzip
import io
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from rayci.analysis.text import tables
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

SMALL = 2_000_000
"""Bytes of Parquet up to which the result table itself travels with the page."""


def downloads(table: ResultTable, frame: pd.DataFrame, split: pd.DataFrame) -> list[dict[str, Any]]:
    """Files: `label`, `name`, `type`, and `data` in base64, `packed` with gzip where the page unpacks it."""
    stream = io.BytesIO()
    frame.to_parquet(stream, compression="zstd")
    files = [
        _text("CSV", "composability.csv", "text/csv", tables.to_csv(frame, all_columns=True)),
        _text("LaTeX", "composability.tex", "application/x-tex", tables.to_latex(frame)),
        _binary("Parquet", "composability.parquet", stream.getvalue()),
    ]
    if len(split):
        files.append(_text("times (CSV)", "times.csv", "text/csv", tables.to_csv(split)))
    whole = io.BytesIO()
    pq.write_table(table.arrow, whole, compression="zstd")
    if whole.tell() <= SMALL:
        files.append(_binary("all readings (Parquet)", "readings.parquet", whole.getvalue()))
    return files


def _text(label: str, name: str, kind: str, text: str) -> dict[str, Any]:
    packed = gzip.compress(text.encode(), compresslevel=6, mtime=0)
    return {"label": label, "name": name, "type": kind, "packed": True, "data": base64.b64encode(packed).decode()}


def _binary(label: str, name: str, content: bytes) -> dict[str, Any]:
    kind = "application/vnd.apache.parquet"
    return {"label": label, "name": name, "type": kind, "packed": False, "data": base64.b64encode(content).decode()}
