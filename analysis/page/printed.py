"""Figures for print, each by one call: `analysis.print_figure(table, "editing_under_compression", "figure2.pdf")`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rayci.analysis.page.print_bits import over_bits
from rayci.analysis.page.print_curves import under
from rayci.analysis.page.print_heat import heat_maps
from rayci.analysis.page.print_lasting import what_lasts
from rayci.analysis.page.print_pareto import pareto
from rayci.analysis.page.print_style import SUFFIXES, printing, write
from rayci.errors import RequestError, nearest
from rayci.kinds import Kind
from rayci.table import ResultTable

FIGURES: Mapping[str, Callable[[ResultTable], Any]] = {
    "editing_under_compression": partial(under, kind=Kind.EDIT, by=Kind.COMPRESS),
    "unlearning_under_compression": partial(under, kind=Kind.UNLEARN, by=Kind.COMPRESS),
    "editing_under_training": partial(under, kind=Kind.EDIT, by=Kind.TRAIN),
    "unlearning_under_training": partial(under, kind=Kind.UNLEARN, by=Kind.TRAIN),
    "what_lasts": what_lasts,
    "over_average_bits": over_bits,
    "heat_maps": heat_maps,
    "pareto_front": pareto,
}
"""Name -> what draws it: figures 2 and 3 of arXiv 2407.06483, figure 5 of the workshop paper, and five more."""


def print_figure(table: ResultTable, name: str, path: Path | str) -> Path:
    """Draw one of FIGURES into an SVG, PDF or PNG (by suffix), and return its path.

    The same table gives the same bytes, with the fonts inside and no date. RequestError for an unknown name or suffix,
    and where the table has nothing to draw.
    """
    if name not in FIGURES:
        raise RequestError(f"no figure {name!r}", allowed=", ".join(FIGURES), hint=nearest(name, FIGURES))
    with printing():
        return write(FIGURES[name](table), Path(path))


def print_figures(table: ResultTable, folder: Path | str, suffixes: Iterable[str] = SUFFIXES) -> dict[str, str]:
    """Draw every figure that the table has something for, `<folder>/<name>.<suffix>`.

    Returns the others, each with the reason. RequestError for an unknown suffix, before anything is written.
    """
    wanted = list(suffixes)
    for suffix in wanted:
        if suffix not in SUFFIXES:
            raise RequestError(f"cannot draw into .{suffix}", allowed=", ".join(SUFFIXES))
    left_out: dict[str, str] = {}
    for name, draw in FIGURES.items():
        with printing():
            try:
                figure = draw(table)
            except RequestError as error:
                left_out[name] = error.problem
                continue
            for suffix in wanted:
                write(figure, Path(folder) / f"{name}.{suffix}")
    return left_out
