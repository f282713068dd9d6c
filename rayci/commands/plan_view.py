"""What `rayci plan` shows: counts, reservations and estimates of a plan, as one flat record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rayci.data.records import Collection
from rayci.forecast.estimator import HOUR, Estimator
from rayci.forecast.stage_times import known_times
from rayci.planning.plan import Plan, Planner
from rayci.units import hours, size


def foresee(
    planner: Planner,
    plan: Plan,
    data: Collection | None = None,
    *,
    run: Path | None = None,
    times: str | None = None,
    price: float | None = None,
) -> dict[str, Any]:
    """Counts, what a trial reserves, the estimates, and what is left where `run` (runs/<name>) holds this sweep.

    `times` is an earlier run of the same model. Raises RequestError where it has no table, or none of this model
    and kind of device.
    """
    spec = planner.spec
    own = run or Path("runs") / spec.name
    estimator = Estimator(planner, known_times(spec.model, Path(times) if times else own, strict=times is not None))
    estimate = estimator.of(plan, price).row()
    reserved = {"trial_cpus": spec.resources.cpus, "trial_gpus": spec.resources.gpus}
    begun = {} if data is None else _left(planner, plan, data, own, estimator)
    return {**plan.summary(), **reserved, "trial_memory_bytes": estimate.pop("memory_bytes"), **estimate, **begun}


def _left(planner: Planner, plan: Plan, data: Collection, run: Path, estimator: Estimator) -> dict[str, Any]:
    """What a run has done and what the same command would do now; nothing where there is no such run."""
    from rayci.trials.remaining import remaining

    left = remaining(planner, plan, data, run)
    if left is None:
        return {}
    seconds = estimator.seconds(left.steps, left.readings)
    return {
        "stages_done": left.stages_done,
        "steps_to_apply": len(left.steps),
        "readings_to_take": len(left.readings),
        "left_hours": None if seconds is None else seconds / HOUR,
    }


def readable(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with units, for people; notes left out."""
    shown: dict[str, Any] = {}
    for key, value in values.items():
        if key == "notes":
            continue
        if value is None:
            shown[key.removesuffix("_bytes").replace("_", " ")] = "not known"
        elif key.endswith("_bytes"):
            shown[key.removesuffix("_bytes").replace("_", " ")] = size(value)
        elif key.endswith("_hours"):
            shown[f"{key.removesuffix('_hours')} time"] = hours(value)
        elif key == "cost":
            shown[key] = f"{value:,.2f} USD"
        else:
            shown[key.replace("_", " ")] = value
    return shown
