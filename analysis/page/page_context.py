"""What the report's page is filled with: its texts, beside the data that its scripts draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from rayci.analysis.answering import findings
from rayci.analysis.answering.brought_back import brought_back
from rayci.analysis.answering.order_tables import INDENT, pivots
from rayci.analysis.answering.usability import ruinous_steps
from rayci.analysis.answering.which_order import WhichOrder, where_read, which_order
from rayci.analysis.composing.metric_table import METHODS, metrics
from rayci.analysis.composing.time_split import time_split
from rayci.analysis.page.cell_data import methods_of, reason_of
from rayci.analysis.page.chain_data import chain_data
from rayci.analysis.page.downloads import downloads
from rayci.analysis.page.long_names import expanded, introduced
from rayci.analysis.page.page_data import page_data
from rayci.analysis.page.provenance import provenance
from rayci.analysis.page.stage_rows import missing
from rayci.analysis.scan.cells import chosen_criteria, final_cells, scale_of
from rayci.analysis.scan.family import Family, families
from rayci.analysis.scan.reading_point import At
from rayci.analysis.text import robustness_pivot, still_known, tables
from rayci.analysis.text.time_pivot import time_lines, time_pivot
from rayci.kinds import Status
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class News:
    """What a watched run has come to."""

    version: str
    """Another one where the table has changed."""
    progress: str
    """How far the run is, in words."""


@dataclass(frozen=True)
class About:
    """What a report says beside its table."""

    title: str | None = None
    at: At = "area"
    """Where the composability table is read, as in `metrics`."""
    tracebacks: tuple[tuple[str, str], ...] = ()
    spec: str | None = None
    """The sweep's specification as text."""
    answer: WhichOrder | None = None
    """In which order, where that was asked already."""
    news: News | None = None
    """Where the page watches a run; it then asks for more."""


def context(table: ResultTable, frame: pd.DataFrame, about: About) -> dict[str, Any]:
    """The variables of `report.html.j2`."""
    judged = chosen_criteria(table, None)
    held = families(final_cells(table))
    scales = {name: scale_of(table, name) for name in judged}
    records = tables.records_of(frame)
    longer = [record for size in _longer(held) for record in tables.records_of(metrics(table, about.at, size=size))]
    data = page_data(table, held, [*records, *longer], scales)
    answer = about.answer or which_order(table)
    answers, split = pivots(answer), time_split(table)
    sweeps = sorted(table.arrow.column("sweep").unique().to_pylist())
    return {
        "title": about.title or f"{', '.join(sweeps)}: what survives composition",
        "about": about,
        "counts": _counts(table, records),
        "names": expanded([*_methods(held), *judged]),
        "sentences": introduced(answer.sentences),
        "ruinous": ruinous_steps(table),
        "brought_back": introduced(brought_back(table)),
        "answers": answers,
        "read": {name: answer.where.lstrip(", ") for name, told in answers.items() if told.header[0] == "methods"},
        "indent": INDENT,
        "findings": [finding for finding in findings.per_criterion(records) if finding.worst],
        "interval_of": {record["interval_of"] for record in [*records, *longer]} - {None},
        "is_area": bool(frame["strength"].isna().all()),
        "reading": where_read({2: frame}, about.at).lstrip(", ") or "where nothing is swept",
        "composed": any(len(family.pair) > 1 for family in held),
        "ordered": any(len(family["orders"]) > 1 for family in data["families"] if len(family["methods"]) > 1),
        "pairs": any(len(family.pair) == 2 for family in held),
        "chains": any(len(family.pair) > 2 for family in held),
        "recovered": list(still_known.knowledge_tables(table)),
        "recovered_legend": still_known.LEGEND,
        "robust": list(robustness_pivot.robustness_tables(table)),
        "robust_legend": robustness_pivot.LEGEND,
        "missing": missing(table),
        "gaps": _gaps([*records, *longer], data["families"]),
        "provenance": provenance(table),
        "times": _times(split),
        "data": {
            **data,
            "chains": chain_data(table, judged, _longer(held), about.at),
            "files": downloads(table, frame, split),
            "version": about.news and about.news.version,
        },
    }


def _times(split: pd.DataFrame) -> dict[str, Any] | None:
    """Where the time went, each line with its shares by activity; None where no time was recorded."""
    if not len(split):
        return None
    table, shares = time_pivot(split), [line["shares"] for line in time_lines(split)]
    return {
        "header": table.header,
        "lines": list(zip(table.rows, shares, strict=True)),
        "activities": list(shares[-1]),
        "notes": table.notes,
    }


def _longer(held: Sequence[Family]) -> list[int]:
    """Sizes of the sets of three and more methods that the composability table can hold."""
    return sorted({len(family.pair) for family in held} & set(range(3, len(METHODS) + 1)))


def _methods(held: Sequence[Family]) -> list[str]:
    return [variant.method for family in held for variant in family.pair]


def _counts(table: ResultTable, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    arrow = table.arrow
    statuses = {entry["values"]: entry["counts"] for entry in arrow.column("status").value_counts().to_pylist()}
    finals = set(arrow.filter(pc.field("final")).column("composition").unique().to_pylist()) - {""}
    methods = pc.list_flatten(arrow.column("steps"))
    return {
        "compositions": len(finals),
        "methods": len(pc.unique(pc.struct_field(methods, "method"))),
        "criteria": len(arrow.column("criterion").unique()),
        "replicates": max((record["n_replicates"] for record in records), default=0),
        "readings": arrow.num_rows,
        "failed": statuses.get(Status.FAILED, 0),
        "skipped": statuses.get(Status.SKIPPED, 0),
        "models": ", ".join(sorted(arrow.column("model").unique().to_pylist())),
    }


def _gaps(records: Sequence[Mapping[str, Any]], held: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, list[str]]]:
    """(methods, reason, criteria) of every row of the composability table that has something to say.

    Of sets that have one order, which nobody can compare, that is said in the place of what their others lack.
    """
    alone = {family["name"]: family["orders"][0] for family in held if len(family["orders"]) == 1}
    criteria_by_reason: dict[tuple[str, str], list[str]] = {}
    for record in records:
        only = alone.get(methods_of(record))
        reason = f"only {only} was run: there is no other order to compare with" if only else reason_of(record)
        if reason:
            criteria_by_reason.setdefault((tables.pair_name(record), reason), []).append(record["criterion"])
    return [(methods, reason, names) for (methods, reason), names in criteria_by_reason.items()]
