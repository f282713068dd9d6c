"""`rayci status`: where the time of a run's workers went so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rayci.analysis.text.time_pivot import percent, spent
from rayci.commands.console import Format, out, pairs, print_json, show
from rayci.units import HOUR


def time_so_far(parts: Path) -> list[dict[str, Any]]:
    """For each activity and for `all`, hours of all workers and their share; nothing where no time was recorded.

    `utilisation`, of applying and measuring: share of the operations that the devices could have done, null where
    nobody knows. The rows of the table are read as they are now, unchecked: ten thousand stages in seconds.
    """
    import polars as pl

    from rayci.table import SECONDS, known_sum, utilisation, visits
    from rayci.table.worker_times import times_in

    sums = [*map(known_sum, SECONDS), utilisation("apply"), utilisation("measure")]
    told: dict[str, float | None] = {}
    with suppress(OSError, pl.exceptions.PolarsError):  # no rows yet, or the run brings its files together now
        told = visits(times_in(parts)).select(sums).collect().to_dicts()[0]
    seconds = {name.removesuffix("_seconds"): told.get(name) for name in SECONDS}
    whole = sum(value for value in seconds.values() if value is not None)
    if not whole:
        return []
    return [
        {
            "activity": activity,
            "hours": None if value is None else value / HOUR,
            "share": None if value is None else value / whole,
            **({"utilisation": told[f"{activity}_utilisation"]} if activity in ("apply", "measure") else {}),
        }
        for activity, value in (seconds | {"all": whole}).items()
    ]


def print_state(state: Mapping[str, Any], time: Sequence[Mapping[str, Any]], title: str, format: Format) -> None:
    """How far a run is, and where the time went."""
    if format is Format.TABLE:
        pairs(state, title=title)
        if time:
            out.print()
            show(_readable(time), format, title="where the time of its workers went")
        return
    by_activity = {row["activity"]: {name: value for name, value in row.items() if name != "activity"} for row in time}
    if format is Format.JSON:
        print_json({**state, "time": by_activity})
    else:
        flat = {f"{activity}_{name}": value for activity, row in by_activity.items() for name, value in row.items()}
        show([{**state, **flat}], format)


def _readable(time: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """For people; without the column of which nothing is known."""
    known = any(row.get("utilisation") is not None for row in time)
    return [
        {
            "activity": row["activity"],
            "time": spent(None if row["hours"] is None else row["hours"] * HOUR),
            "share": percent(row["share"]),
            **({"FLOP utilisation": percent(row.get("utilisation"))} if known else {}),
        }
        for row in time
    ]
