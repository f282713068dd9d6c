"""What the command line prints: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rayci.analysis.text.escaping import csv_cell
from rayci.errors import printable


class Format(StrEnum):
    """How a listing is printed; json and csv go to standard output alone."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


_PIPED_WIDTH = 160

out = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH)
notes = Console(stderr=True, highlight=False)


def say(text: str, style: str = "", *, console: Console = out) -> None:
    """Print a line as it is, whole so that it can be copied; nothing in it is obeyed by the terminal or by rich."""
    console.print(printable(text), style=style or None, markup=False, soft_wrap=True)


def plain(text: str) -> str:
    """A text as it may stand inside of rich's markup."""
    return escape(printable(text))


def show(
    rows: Sequence[Mapping[str, Any]], format: Format, *, title: str = "", columns: Sequence[str] | None = None
) -> None:
    """Print rows of equal keys in the chosen format; `columns`: their keys, where there may be no rows."""
    if format is Format.JSON:
        print(json.dumps(list(rows), indent=1, ensure_ascii=False))
    elif format is Format.CSV:
        writer = csv.DictWriter(sys.stdout, fieldnames=columns or (list(rows[0]) if rows else []), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: csv_cell(_flat(value)) for key, value in row.items()} for row in rows)
    else:
        table(rows, title)


def table(rows: Iterable[Mapping[str, Any]], title: str = "") -> None:
    """A table for people; numbers to the right."""
    rows = list(rows)
    if not rows:
        say(f"{title}: nothing" if title else "nothing")
        return
    drawn = Table(box=None)
    for key in rows[0]:
        numeric = all(isinstance(row[key], (int, float)) or row[key] is None for row in rows)
        drawn.add_column(plain(key.replace("_", " ")), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row.values()))
    _draw(drawn, title)


def pairs(values: Mapping[str, Any], title: str = "") -> None:
    """Names and values, one a line."""
    drawn = Table(box=None, show_header=False)
    for key, value in values.items():
        drawn.add_row(f"[dim]{plain(key)}[/dim]", _cell(value))
    _draw(drawn, title)


def _draw(drawn: Table, title: str) -> None:
    if title:
        say(title, "italic")  # a title of the table's own would be broken where the table is narrower
    out.print(drawn)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return plain(str(value))


def _flat(value: Any) -> Any:
    """What has parts of its own as JSON, for a cell that programs read."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping | list | tuple) else value


def print_json(value: Any) -> None:
    """A single JSON value on standard output."""
    print(json.dumps(value, indent=1, ensure_ascii=False))
