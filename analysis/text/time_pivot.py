"""Where the time went as a table for people: a line for each method, then one for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rayci.analysis.text.tables import Pivot, records_of
from rayci.table import SECONDS

if TYPE_CHECKING:
    import pandas as pd

ACTIVITIES = tuple(name.removesuffix("_seconds") for name in SECONDS)
UNKNOWN = "–"
_LEGEND = (
    "Load to idle are shares of a line's time. Load: the way to the stage before, with what had to be done again."
    " Store: weights, readings and rows. Idle: waiting for work."
)
_USE = (
    "Use is FLOP utilisation: the share of what the device could have done in that time, as the preflight measured it."
)


def time_pivot(split: pd.DataFrame) -> Pivot:
    """What `rayci.analysis.time_split` says; columns of which nothing is known are left out."""
    lines = [_cells(line) for line in time_lines(split)]
    held = tuple(name for name in lines[0] if any(line[name] != UNKNOWN for line in lines))
    notes = (_LEGEND, _USE) if any(name.endswith(" use") for name in held) else (_LEGEND,)
    return Pivot(held, tuple(tuple(line[name] for name in held) for line in lines), notes)


def time_lines(split: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as plain values, the last for all of them; each with its `shares` by activity, known ones alone."""
    records = records_of(split)
    summed = ("stages", *SECONDS, "seconds", "share")
    whole: dict[str, Any] = {name: _over(sum, records, name) for name in summed}
    whole |= {"kind": "all", "method": None, "peak_memory_bytes": _over(max, records, "peak_memory_bytes")}
    lines = [*records, dict.fromkeys(split.columns) | whole]
    return [line | {"shares": _shares(line)} for line in lines]


def _over(fold: Any, records: Iterable[Mapping[str, Any]], name: str) -> Any:
    known = [record[name] for record in records if record[name] is not None]
    return fold(known) if known else None


def _shares(line: Mapping[str, Any]) -> dict[str, float]:
    known = {activity: line[f"{activity}_seconds"] for activity in ACTIVITIES}
    return {activity: seconds / line["seconds"] for activity, seconds in known.items() if seconds is not None}


def _cells(line: Mapping[str, Any]) -> dict[str, str]:
    again = line["kind"] in ("refit", "reproject")
    method, peak = line["method"] or line["kind"], line["peak_memory_bytes"]
    return {
        "last step": f"{line['kind']}({method})" if again else method,
        "stages": str(line["stages"]),
        "time": spent(line["seconds"]),
        "of all": percent(line["share"]),
        **{activity: percent(line["shares"].get(activity)) for activity in ACTIVITIES},
        "median step": spent(line["apply_median"]),
        "apply use": percent(line["apply_utilisation"]),
        "measure use": percent(line["measure_utilisation"]),
        "peak GPU memory": UNKNOWN if peak is None else f"{peak / 2**30:.1f} GiB",
    }


def percent(share: float | None) -> str:
    """A share for reading; what is there and rounds to nothing says so."""
    if share is None:
        return UNKNOWN
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def spent(seconds: float | None) -> str:
    """A time for reading: 0.04 s, 12 s, 3.5 min, 12.1 h."""
    if seconds is None:
        return UNKNOWN
    if seconds < 100:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
