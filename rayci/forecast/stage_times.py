"""Seconds of steps and readings that were measured: on an earlier run, or on another machine."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rayci import table
from rayci.errors import RequestError

NEAR = 1.5
"""A model's times stand for models of up to this many times its parameters, and as many times fewer."""


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


def timed_name(method: str, recompression: str | None) -> str:
    """What a step is measured as: its method, apart where it only puts a mask or grid back."""
    return f"reproject({method})" if recompression == "reproject" else method


def of_run(run: Path | str, model: str, device: str) -> Times:
    """Medians of a run's table over its stages on this model and kind of device (`cpu`, `cuda`).

    The model is told by its name in the spec: a hash of its weights would have to read them all.
    """
    steps: dict[tuple[str, str], float] = {}
    peaks: dict[tuple[str, str], int] = {}
    readings: dict[str, list[float]] = {}
    names = ["model", "device", "stage_fingerprint", "steps", "criterion", "apply_seconds", "measure_seconds"]
    for row in table.read(run).arrow.select([*names, "peak_memory_bytes"]).to_pylist():
        if (row["model"], row["device"]) != (model, device):
            continue
        if row["measure_seconds"] is not None:
            readings.setdefault(row["criterion"], []).append(row["measure_seconds"])
        peak = row["peak_memory_bytes"]
        if peak and not row["steps"]:
            peaks[row["criterion"], ""] = max(peak, peaks.get((row["criterion"], ""), 0))
        if row["steps"] and row["apply_seconds"]:  # 0 where the stage came out of the store
            last = row["steps"][-1]
            stage = timed_name(last["method"], last["recompression"]), row["stage_fingerprint"]
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
        {name: median(values) for name, values in by_method.items()},
        {name: median(values) for name, values in readings.items()},
        most,
    )


def of_file(path: Path, parameters: int, device: str) -> Times:
    """The rows of a CSV file that were measured on a model of about this size and this device.

    Columns: parameters, device, kind (step or criterion), name, seconds, source.
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
    return Times("; ".join(sources), steps, readings)
