"""Measured times at hand for a sweep: those of an earlier run, then those that ship."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rayci.errors import RayciError, RequestError
from rayci.forecast import stage_times
from rayci.forecast.clock import GPU
from rayci.forecast.stage_times import Times

SHIPPED = Path(__file__).with_name("stage_times.csv")
"""Measured times that ship, for sizes of models and kinds of devices."""


def known_times(model: str, run: Path, *, strict: bool = False) -> Callable[[int, str], list[Times]]:
    """Times by number of parameters and kind of device: those of an earlier run, then those that ship.

    `strict`: RequestError where the run has none of this model.
    """

    def known(parameters: int, device: str) -> list[Times]:
        measured = _of_run(str(run), model, device, strict=strict) if strict or (run / "table").is_dir() else None
        own = [] if measured is None else [measured]
        return [*own, stage_times.of_file(SHIPPED, parameters, GPU if device == "cuda" else device)]

    return known


def _of_run(place: str, model: str, device: str, *, strict: bool) -> Times | None:
    try:
        measured = stage_times.of_run(place, model, device)
    except RayciError:  # none yet, or a damaged part: the run itself will say so
        if strict:
            raise
        return None
    if strict and not (measured.steps or measured.readings):
        raise RequestError(
            f"{place} has no times of {model} on a {device}", at="--times", hint="a run of the same model and device"
        )
    return measured
