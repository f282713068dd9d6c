"""The report: one self-contained HTML file that answers, shows, and says what is missing and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayci.analysis.composing.metric_table import metrics
from rayci.analysis.composing.time_split import time_split
from rayci.analysis.page.page_context import About, context
from rayci.analysis.scan.reading_point import At
from rayci.analysis.text import tables
from rayci.analysis.text.time_pivot import time_pivot
from rayci.errors import RequestError
from rayci.storage.atomic import replacing
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment
    from markupsafe import Markup

    from rayci.analysis.answering.which_order import WhichOrder

BESIDE = ("csv", "md", "tex", "json", "png", "svg", "pdf")
"""What can be written beside the report."""


def report(
    table: ResultTable,
    folder: Path | str,
    title: str | None = None,
    at: At = "area",
    beside: Iterable[str] = (),
    tracebacks: Sequence[tuple[str, str]] = (),
    spec: str | None = None,
    answer: WhichOrder | None = None,
) -> Path:
    """Write `report.html` into a folder and return its path; nothing in it loads from a network.

    `at` as in `metrics`. `beside`: further files from BESIDE (`composability.csv`, `times.csv`, `overview.png` …).
    `tracebacks`: (what failed, text), as `rayci.trials.failures` has them. `spec`: the sweep's specification as text.
    `answer`: what `which_order` said of the table, if it was asked. Each file is complete under its name, or not there;
    there is no overview where the table composes no pair of methods, and there are no times where none were recorded.
    Raises RequestError for an unknown `beside`.
    """
    wanted = list(beside)
    for name in wanted:
        if name not in BESIDE:
            raise RequestError(f"cannot write {name!r} beside the report", allowed=", ".join(BESIDE))
    target = Path(folder)
    frame = metrics(table, at)
    _write(target / "report.html", render(table, frame, About(title, at, tuple(tracebacks), spec, answer)))
    split = time_split(table)
    for name in wanted:
        if name in tables.WRITERS:
            _write(target / f"composability.{name}", tables.WRITERS[name](frame))
            if len(split):
                _write(target / f"times.{name}", _times(split, name))
        else:
            from rayci.analysis.page.overview import has_pairs, write_overview

            if has_pairs(table):
                write_overview(table, target / f"overview.{name}")
    return target / "report.html"


def _times(split: pd.DataFrame, name: str) -> str:
    return tables.OF_FRAMES[name](split) if name in tables.OF_FRAMES else tables.OF_PIVOTS[name](time_pivot(split))


def render(table: ResultTable, frame: Any, about: About) -> str:
    """The HTML text for a table and its composability table; styles, scripts and data inlined."""
    return _environment().get_template("report.html.j2").render(context(table, frame, about))


def waiting(title: str, said: str) -> str:
    """The page of a run that has nothing to show yet; it asks again by itself."""
    return _environment().get_template("waiting.html.j2").render(title=title, said=said)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FunctionLoader(_template),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "allow_nan": False, "separators": (",", ":")}
    environment.globals["inlined"] = _inlined
    return environment


def _template(name: str) -> str:
    return (files("rayci.analysis.page") / "templates" / name).read_text(encoding="utf-8")


def _inlined(name: str) -> Markup:
    """A style sheet or script of this room as it is: our own text, which is neither escaped nor a template."""
    from markupsafe import Markup

    return Markup(_template(name))


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
