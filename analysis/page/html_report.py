"""The report: one self-contained HTML file with summary, tables, interactive curves and provenance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from rayci.analysis.answering import findings
from rayci.analysis.answering.answers import answers
from rayci.analysis.answering.usability import ruinous_steps
from rayci.analysis.composing.metric_table import metrics
from rayci.analysis.page import provenance
from rayci.analysis.page import stage_rows as stages
from rayci.analysis.page.drawing import better
from rayci.analysis.page.figures import figure_dict
from rayci.analysis.page.heat import heat_rows
from rayci.analysis.scan.cells import chosen_criteria, scale_of
from rayci.analysis.scan.curve import Curve, curves
from rayci.analysis.scan.reading_point import At
from rayci.analysis.text import tables
from rayci.errors import RequestError
from rayci.kinds import Scale, Status
from rayci.storage.atomic import replacing
from rayci.table import ResultTable

BESIDE = ("csv", "md", "tex", "json", "png", "svg")
"""What can be written beside the report."""


def report(
    table: ResultTable,
    folder: Path | str,
    title: str | None = None,
    at: At = "area",
    beside: Iterable[str] = (),
    tracebacks: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write `report.html` into a folder and return its path; nothing in it loads from a network.

    `at` as in `metrics`. `beside`: further files from BESIDE (`composability.csv`,
    `overview.png` …). `tracebacks`: (what failed, text), as `rayci.trials.failures` has them.
    Each file is complete under its name, or not there. Raises RequestError for an unknown `beside`.
    """
    wanted = list(beside)
    for name in wanted:
        if name not in BESIDE:
            raise RequestError(f"cannot write {name!r} beside the report", allowed=", ".join(BESIDE))
    target = Path(folder)
    frame = metrics(table, at)
    text = render(table, frame, title, tracebacks)
    _write(target / "report.html", text)
    makers = {"csv": tables.to_csv, "md": tables.to_markdown, "tex": tables.to_latex, "json": tables.to_json}
    for name in wanted:
        if name in makers:
            _write(target / f"composability.{name}", makers[name](frame))
        else:
            from rayci.analysis.page.overview import write_overview

            write_overview(table, target / f"overview.{name}")
    return target / "report.html"


def render(table: ResultTable, frame: Any, title: str | None = None, tracebacks: Sequence[tuple[str, str]] = ()) -> str:
    """The HTML text for a table and its composability table, plotly.js and data inlined once."""
    from jinja2 import Environment, StrictUndefined

    source = (files("rayci.analysis.page") / "templates" / "report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "allow_nan": False}
    return environment.from_string(source).render(**_context(table, frame, title), tracebacks=tracebacks)


def _context(table: ResultTable, frame: Any, title: str | None) -> dict[str, Any]:
    from plotly.offline import get_plotlyjs

    criteria = chosen_criteria(table, None)
    scales = {name: scale_of(table, name) for name in criteria}
    records = tables.records_of(frame)
    sweeps = sorted(set(table.arrow.column("sweep").to_pylist()))
    held = table.arrow.column("criterion").unique().to_pylist()
    figures = _figures(table, criteria, scales)
    return {
        "title": title or f"{', '.join(sweeps)}: what survives composition",
        "counts": _counts(table, records),
        "headlines": findings.headlines(records, scales),
        "ruinous": ruinous_steps(table),
        "answers": answers(frame),
        "findings": findings.per_criterion(records),
        "criteria": [(name, better(scales[name])) for name in criteria],
        "heat": heat_rows(records, scales),
        "is_area": frame["strength"].isna().all(),
        "figures": figures,
        "stages": _stages(table, list(figures)),
        "stage_criteria": [*criteria, *sorted(set(held) - set(criteria))],
        "missing": stages.missing(table),
        "gaps": _gaps(records),
        "provenance": provenance.provenance(table),
        "plotly": get_plotlyjs() if figures else "",
    }


def _counts(table: ResultTable, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    arrow = table.arrow
    pairs = {tables.pair_name({**record, "strength": None}) for record in records}
    methods = {step["method"] for steps in arrow.column("steps").to_pylist() for step in steps}
    statuses = arrow.column("status").to_pylist()
    finals = set(arrow.filter(pc.field("final")).column("composition").to_pylist()) - {""}
    return {
        "compositions": len(finals),
        "methods": len(methods),
        "pairs": len(pairs),
        "criteria": len(arrow.column("criterion").unique()),
        "replicates": max((record["n_replicates"] for record in records), default=0),
        "readings": len(statuses),
        "failed": statuses.count(Status.FAILED),
        "skipped": statuses.count(Status.SKIPPED),
        "models": ", ".join(sorted(set(arrow.column("model").to_pylist()))),
    }


def _figures(table: ResultTable, criteria: Sequence[str], scales: Mapping[str, Scale]) -> dict[str, dict[str, Any]]:
    """Methods -> criterion -> plotly figure, for every set of two or more methods."""
    held = curves(table, criteria)
    singles = [curve for curve in held if len(curve.pair) == 1]
    grouped: dict[str, dict[str, list[Curve]]] = {}
    for curve in (curve for curve in held if len(curve.pair) > 1):
        name = " × ".join(variant.label for variant in curve.pair)
        grouped.setdefault(name, {}).setdefault(curve.criterion, []).append(curve)
    return {
        name: {
            criterion: figure_dict(
                members[criterion], scales[criterion], [c for c in singles if c.criterion == criterion]
            )
            for criterion in criteria
            if criterion in members
        }
        for name, members in grouped.items()
    }


def _stages(table: ResultTable, first: Sequence[str]) -> dict[str, list[list[dict[str, Any]]]]:
    """Methods -> compositions -> stages, in the order in which the figures have the methods."""
    walked = stages.stage_lines(table)
    pairs = sorted(walked, key=lambda pair: first.index(pair) if pair in first else len(first))
    return {pair: [[asdict(line) for line in lines] for _, lines in walked[pair]] for pair in pairs}


def _gaps(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, list[str]]]:
    """(pair, reason, criteria) of every row of the composability table that has something to say."""
    criteria_by_reason: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record["reason"]:
            criteria_by_reason.setdefault((tables.pair_name(record), record["reason"]), []).append(record["criterion"])
    return [(pair, reason, names) for (pair, reason), names in criteria_by_reason.items()]


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
