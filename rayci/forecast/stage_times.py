"""Seconds and peaks that were measured: on an earlier run, or on another machine (a table ships)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from rayci import table
from rayci.errors import RayciError, RequestError
from rayci.forecast.rates import Rates, saved

SHIPPED = Path(__file__).with_name("stage_times.csv")
"""Measured times that ship, for sizes of models and kinds of devices."""
GPU = "A100"
"""The accelerator that shipped times and operations are of."""
NEAR = 1.5
"""A model's times stand for models of up to this many times its parameters, and as many times fewer."""
_TIMES = ("stage_fingerprint", "criterion", "apply_seconds", "measure_seconds", "peak_memory_bytes")


@dataclass(frozen=True)
class Times:
    """Measured seconds and peaks, each with what they were measured on."""

    source: str
    steps: Mapping[str, float] = field(default_factory=dict)
    """By `timed_name` of the step."""
    readings: Mapping[str, float] = field(default_factory=dict)
    """By criterion, one measurement each."""
    peaks: Mapping[str, int] = field(default_factory=dict)
    """By method and by criterion, bytes of the accelerator."""
    rates: Rates | None = None
    """Of the machine that they were measured on with the testbed's presets; None: they are of this sweep's own kind."""


def timed_name(method: str, recompression: str | None) -> str:
    """What a step is measured as: its method, apart where it only puts a mask or grid back."""
    return f"reproject({method})" if recompression == "reproject" else method


def of_run(run: Path | str, model: str, device: str) -> Times:
    """Means of a run's table over its stages on this model and kind of device (`cpu`, `cuda`).

    Means, for hours are sums: one stage of a method may do work once for all others, and take much longer.
    The model is told by its name in the spec: a hash of its weights would have to read them all.
    """
    steps: dict[tuple[str, str], float] = {}
    peaks: dict[tuple[str, str], int] = {}
    readings: dict[str, list[float]] = {}
    for row in _timed_rows(run, model, device):
        if row["measure_seconds"]:  # 0 where the reading came out of the store
            readings.setdefault(row["criterion"], []).append(row["measure_seconds"])
        peak = row["peak_memory_bytes"]
        if peak and not row["method"]:
            peaks[row["criterion"], ""] = max(peak, peaks.get((row["criterion"], ""), 0))
        if row["method"] and row["apply_seconds"]:  # 0 where the stage came out of the store
            stage = timed_name(row["method"], row["recompression"]), row["stage_fingerprint"]
            steps[stage] = row["apply_seconds"]
            if peak:  # of applying or of measuring, whichever is more: the lightest criterion says the most of the step
                peaks[stage] = min(peak, peaks.get(stage, peak))
    by_method: dict[str, list[float]] = {}
    for (name, _), seconds in steps.items():
        by_method.setdefault(name, []).append(seconds)
    most: dict[str, int] = {}
    for (name, _), peak in peaks.items():
        most[name] = max(peak, most.get(name, 0))
    return Times(
        f"measured on {run}",
        {name: fmean(values) for name, values in by_method.items()},
        {name: fmean(values) for name, values in readings.items()},
        most,
    )


def _timed_rows(run: Path | str, model: str, device: str) -> list[dict[str, Any]]:
    """The times of every row of this model and device, with method and re-compression of the last step, if any.

    Nothing else is read of the steps, which are most of a table.
    """
    import polars as pl

    rows = table.read(run).columns([*_TIMES, "model", "device", "steps"])
    asked = rows.filter(pl.col("model") == model, pl.col("device") == device)
    last = pl.col("steps").list.last().struct
    return asked.select(*_TIMES, last.field("method"), last.field("recompression")).collect().to_dicts()


def of_file(path: Path, parameters: int, device: str) -> Times:
    """The rows of a CSV file that were measured on a model of about this size and this device.

    Columns: parameters, device, kind (step or criterion), name, seconds, source. The rates of that machine lie beside
    it, as a run's do.
    """
    steps: dict[str, float] = {}
    readings: dict[str, float] = {}
    sources: dict[str, None] = {}
    try:
        with path.open(newline="") as stream:
            for row in csv.DictReader(stream):
                ratio = int(row["parameters"]) / parameters
                if row["device"] == device and 1 / NEAR <= ratio <= NEAR:
                    (steps if row["kind"] == "step" else readings)[row["name"]] = float(row["seconds"])
                    sources[row["source"]] = None
    except (OSError, KeyError, ValueError) as error:
        raise RequestError(f"{path} is not a table of stage times: {error!r}") from None
    return Times("; ".join(sources), steps, readings, rates=next(iter(saved(path.parent)), None))


def known_times(model: str, run: Path, *, strict: bool = False) -> Callable[[int, str], list[Times]]:
    """Times by number of parameters and kind of device: those of an earlier run, then those that ship.

    `strict`: RequestError where the run has none of this model.
    """

    def known(parameters: int, device: str) -> list[Times]:
        measured = _own_times(str(run), model, device, strict=strict) if strict or (run / "table").is_dir() else None
        own = [] if measured is None else [measured]
        return [*own, of_file(SHIPPED, parameters, GPU if device == "cuda" else device)]

    return known


def _own_times(place: str, model: str, device: str, *, strict: bool) -> Times | None:
    try:
        measured = of_run(place, model, device)
    except RayciError:  # none yet, or a damaged part: the run itself will say so
        if strict:
            raise
        return None
    if strict and not (measured.steps or measured.readings):
        raise RequestError(
            f"{place} has no times of {model} on a {device}", at="--times", hint="a run of the same model and device"
        )
    return measured
