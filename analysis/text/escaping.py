"""Names and reasons as they may stand in CSV, Markdown, LaTeX and figures: what a reader would obey is written out."""

from __future__ import annotations

import re
from typing import Any

from rayci.errors import printable

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a cell that a spreadsheet computes."""
_MARKDOWN = re.compile(r"[\\`*<&|~\[\]]|(?<!\w)_|_(?!\w)")
_TEX = {
    **{char: "\\" + char for char in "_%&#{}$"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$",
    "×": r"$\times$", "∞": r"$\infty$", "−": "$-$", "–": "--", "|": r"$\mid$", "γ": r"$\gamma$",
}  # fmt: skip


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file; a text that a spreadsheet would compute begins with an apostrophe. Numbers stay."""
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(_FORMULA) and not _is_number(value) else printable(value)


def markdown(text: str) -> str:
    """One line of Markdown that shows the text, in a table too."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text))


def latex(text: str) -> str:
    """One line of LaTeX that shows the text."""
    return "".join(_TEX.get(char, char) for char in one_line(text))


def label(text: str) -> str:
    """A label of a plotly figure, which may hold some HTML; a `>` alone opens nothing."""
    return one_line(text).replace("&", "&amp;").replace("<", "&lt;")


def one_line(text: str) -> str:
    """The text without line breaks and control characters."""
    return printable(" ".join(text.split()))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
