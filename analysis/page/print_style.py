"""How figures for print look and are written: vector with the fonts inside, the same bytes from the same table.

Colours are Okabe–Ito's and `cividis`, which every common colour blindness tells apart; orders differ by line style as
well, so that a grey copy can be read. Text is DejaVu Sans, which comes with matplotlib: no machine has another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rayci.errors import RequestError
from rayci.storage.atomic import replacing

SUFFIXES = ("svg", "pdf", "png")
WIDTH = 7.0
"""Inches: the text of a page of one column, or both columns of two."""
COLOUR_MAP = "cividis"
_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "pdf.fonttype": 42,  # TrueType, which journals accept and editors can edit
    "svg.fonttype": "path",  # glyphs as outlines: nothing to install where it is read
    "svg.hashsalt": "rayci",  # names of clip paths; drawn at random otherwise
    "text.parse_math": False,  # names are no mathematics
}
_NO_DATES: dict[str, dict[str, None]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
}


@contextmanager
def printing() -> Iterator[None]:
    """Inside, figures are made and written in this style."""
    from matplotlib import rc_context

    with rc_context(_SETTINGS):
        yield


def blank(width: float, height: float) -> Any:
    """An empty figure of so many inches, without pyplot: no global state, no display, nothing to close."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write(figure: Any, path: Path) -> Path:
    """Write a figure by the suffix of its path, complete or not at all; RequestError for a suffix not in SUFFIXES."""
    kind = path.suffix[1:].lower()
    if kind not in SUFFIXES:
        raise RequestError(f"cannot draw into {path.name!r}", allowed=", ".join(f".{name}" for name in SUFFIXES))
    with replacing(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=300, facecolor="white", metadata=_NO_DATES[kind])
    return path
