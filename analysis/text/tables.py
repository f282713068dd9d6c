"""A composability table as text: CSV, JSON, Markdown, LaTeX, and a compact pivot for terminals."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rayci.analysis.composing.metric_table import COLUMNS, METHODS
from rayci.analysis.text.escaping import csv_cell, latex, markdown, one_line

if TYPE_CHECKING:
    import pandas as pd


UNITS = {"replicates": "batches", "seeds": "seeds", "items": "items"}
"""`interval_of` in a word: what a 95 % interval is over."""
_METRICS = ("order_free_error", "order_sensitivity")


@dataclass(frozen=True)
class Pivot:
    """One row per pair, one column per criterion; cells read `error | sensitivity`.

    The last two columns say on how many points of the sweep and how many replicates a row stands.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    """Why cells are empty or stand on fewer points; empty cells show `–`."""


def to_csv(frame: pd.DataFrame, all_columns: bool = False) -> str:
    """CSV with a header; numbers in full precision (they read back bit for bit), missing = empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = _columns(frame, all_columns)
    writer.writerow(columns)
    for record in _records(frame):
        writer.writerow(["" if record[name] is None else csv_cell(record[name]) for name in columns])
    return stream.getvalue()


def to_json(frame: pd.DataFrame, all_columns: bool = False) -> str:
    """A JSON array of objects; missing = null, infinite = the string `inf` (JSON has no infinity)."""
    columns = _columns(frame, all_columns)
    plain = [{name: _finite(record[name]) for name in columns} for record in _records(frame)]
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def stacked(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Composability tables of several numbers of methods as one; what one of them lacks is null."""
    import pandas as pd

    held = list(frames)
    columns = list(dict.fromkeys(str(name) for frame in held for name in frame.columns))
    methods = [name for name in METHODS if name in columns]
    rest = [name for name in columns if name not in methods]
    filled = [frame for frame in held if len(frame)] or held[:1]
    return pd.concat(filled, ignore_index=True).reindex(columns=[*rest[:1], *methods, *rest[1:]])


def to_markdown(frame: pd.DataFrame) -> str:
    """The composability table as a Markdown table, notes below."""
    return markdown_of(composability_pivot(frame))


def to_latex(frame: pd.DataFrame) -> str:
    """The composability table as a LaTeX `tabular` (package booktabs), notes as comments."""
    return latex_of(composability_pivot(frame))


def markdown_of(table: Pivot) -> str:
    """A table for people as a Markdown table, notes below."""
    lines = [_row(map(markdown, table.header)), _row(["---", *["---:"] * (len(table.header) - 1)])]
    lines += [_row(map(markdown, row)) for row in table.rows]
    return "\n".join([*lines, "", *(f"- {markdown(note)}" for note in table.notes)]) + "\n"


def latex_of(table: Pivot) -> str:
    """A table for people as a LaTeX `tabular` (package booktabs), notes as comments."""
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}", r"\toprule"]
    lines += [" & ".join(map(latex, table.header)) + r" \\", r"\midrule"]
    lines += [" & ".join(map(latex, row)) + r" \\" for row in table.rows]
    notes = [f"% {one_line(note)}" for note in table.notes]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *notes]) + "\n"


WRITERS = {"csv": to_csv, "json": to_json, "md": to_markdown, "tex": to_latex}
"""Format -> the composability table as its text."""
OF_FRAMES = {"csv": to_csv, "json": to_json}
"""Format for programs -> any frame as its text."""
OF_PIVOTS = {"md": markdown_of, "tex": latex_of}
"""Format for people -> any table for people as its text."""


def composability_pivot(frame: pd.DataFrame) -> Pivot:
    """The table in its compact form, with what its cells are."""
    table = pivot(frame)
    return replace(table, notes=("Cells: order-free error | order sensitivity.", *table.notes))


def pivot(frame: pd.DataFrame, criteria: Sequence[str] | None = None) -> Pivot:
    """The table in its compact form: a row per pair, `error | sensitivity` per criterion."""
    records = _records(frame)
    names = [name for name in dict.fromkeys(r["criterion"] for r in records) if criteria is None or name in criteria]
    cells: dict[str, dict[str, str]] = {}
    points: dict[str, set[str]] = {}
    replicates: dict[str, set[int]] = {}
    notes: dict[str, list[str]] = {}
    for record in (record for record in records if record["criterion"] in names):
        pair = pair_name(record)
        cells.setdefault(pair, {})[record["criterion"]] = cell(record)
        if record["n_points"]:
            points.setdefault(pair, set()).add(f"{record['n_points']}/{record.get('points_asked') or '?'}")
            replicates.setdefault(pair, set()).add(record["n_replicates"])
        if record.get("reason"):
            notes.setdefault(f"{pair}: {record['reason']}", []).append(record["criterion"])
    rows = []
    for pair, held in cells.items():
        stands_on = ", ".join(sorted(points.get(pair, {"0"}))), ", ".join(map(str, sorted(replicates.get(pair, {0}))))
        rows.append((pair, *(held.get(name, "–") for name in names), *stands_on))
    units = {record["criterion"]: record.get("unit") or "" for record in records}
    titles = [units[name] if units[name].startswith("ln ") else name for name in names]
    header = ("methods", *titles, "points", "n")
    said = [f"{note} [{', '.join(which)}]" for note, which in notes.items()]
    return Pivot(header, tuple(rows), (_replicates(set().union(*replicates.values())), *said))


def with_intervals(frame: pd.DataFrame) -> Pivot:
    """Sets of methods, below each a line for every criterion: both metrics with their 95 % intervals.

    Where points were lost, what the metrics could be at either end of the criterion's range stands beside them.
    """
    header = ["methods", "order-free error", "order sensitivity", "points", "n", "interval over"]
    lost = [f"{metric}_bound_low" for metric in _METRICS if frame[f"{metric}_bound_low"].notna().any()]
    lines: dict[str, list[tuple[str, ...]]] = {}
    for record in _records(frame):
        values = [ranged(*(record[f"{metric}{end}"] for end in ("", "_low", "_high"))) for metric in _METRICS]
        points = f"{record['n_points']}/{record['points_asked']}"
        bounds = [_bounds(record, metric) for metric in _METRICS if lost]
        about = (points, str(record["n_replicates"]), UNITS.get(record["interval_of"], "–"), *bounds)
        lines.setdefault(pair_name(record), []).append((f"  {_title(record)}", *values, *about))
    header += ["error between", "sensitivity between"] if lost else []
    blank = ("",) * (len(header) - 1)
    return Pivot(tuple(header), tuple(row for pair, held in lines.items() for row in [(pair, *blank), *held]), ())


def _title(record: Mapping[str, Any]) -> str:
    """The criterion in words; areas of perplexities are those of their logarithm, and say so."""
    unit = record["unit"] or ""
    return unit if unit.startswith("ln ") else str(record["criterion"]).replace("_", " ")


def ranged(value: float | None, low: float | None, high: float | None) -> str:
    """`0.12 [0.10, 0.14]`, without an interval where there is none."""
    return short(value) if low is None or high is None else f"{short(value)} [{short(low)}, {short(high)}]"


def _bounds(record: Mapping[str, Any], metric: str) -> str:
    low, high = record[f"{metric}_bound_low"], record[f"{metric}_bound_high"]
    return "" if low is None or high is None else f"[{short(low)}, {short(high)}]"


def pair_name(record: Mapping[str, Any]) -> str:
    """`ft × wanda`, with γ in the point form: `ft × wanda @ 0.25`."""
    methods = " × ".join(record[name] for name in METHODS if record.get(name))
    return methods if record.get("strength") is None else f"{methods} @ {record['strength']:g}"


def cell(record: Mapping[str, Any]) -> str:
    """`error | sensitivity`, `–` for what is missing."""
    return f"{short(record['order_free_error'])} | {short(record['order_sensitivity'])}"


def short(value: float | None) -> str:
    """A number for reading: two decimals, fewer digits where it is large, ∞, or `–`."""
    if value is None:
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) >= 1e5:
        return f"{value:.1e}"
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"
    return "0.00" if text == "-0.00" else text


def records_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dicts of plain Python values, None for missing."""
    return _records(frame)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(key): value for key, value in record.items()} for record in plain.to_dict("records")]


def _columns(frame: pd.DataFrame, all_columns: bool) -> list[str]:
    held = [str(name) for name in frame.columns]
    return held if all_columns or not set(COLUMNS) <= set(held) else [n for n in held if n in (*COLUMNS, *METHODS)]


def _finite(value: Any) -> Any:
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _replicates(counts: set[int]) -> str:
    if not counts:
        return "no pair has a value"
    if counts == {1}:
        return "n = 1 replicate: no intervals"
    return "n: edit batches in the mean (seeds, where nothing depends on them); intervals from 3 on"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
