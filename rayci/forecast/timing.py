"""Measured times at hand for a sweep: those of an earlier run, then those that ship."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rayci.errors import RayciError, RequestError
from rayci.forecast import stage_times
from rayci.forecast.estimator import GPU
from rayci.forecast.stage_times import Times
from rayci.model.shapes import Sketch

SHIPPED = Path(__file__).with_name("stage_times.csv")
"""Measured times that ship, for sizes of models and kinds of devices."""


def known_times(model: str, run: Path, *, strict: bool = False) -> Callable[[Sketch, str], list[Times]]:
    """Times of an earlier run, then those that ship; `strict`: RequestError where the run has none."""

    def known(sketch: Sketch, device: str) -> list[Times]:
        found = []
        if strict or (run / "table").is_dir():
            measured = _of_run(str(run), model, device, strict=strict)
            found = [measured] if measured else []
        return [*found, stage_times.of_file(SHIPPED, sketch.parameters, GPU if device == "cuda" else device)]

    return known


def _of_run(place: str, model: str, device: str, *, strict: bool) -> Times | None:
    try:
        found = stage_times.of_run(place, model, device)
    except RayciError:  # none yet, or a damaged part: the run itself will say so
        if strict:
            raise
        return None
    if strict and not (found.steps or found.readings):
        raise RequestError(
            f"{place} has no times of {model} on a {device}", at="--times", hint="a run of the same model and device"
        )
    return found
