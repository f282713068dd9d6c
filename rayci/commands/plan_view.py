"""What `rayci plan` shows: counts, reservations and estimates of a plan, as one flat record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rayci.commands.console import Format, notes, pairs, print_json, say, show
from rayci.data.records import Collection
from rayci.errors import RequestError
from rayci.forecast.estimator import Estimator
from rayci.forecast.probe import Probe
from rayci.forecast.stage_times import known_times
from rayci.planning.plan import Plan, Planner
from rayci.planning.schedule import in_turn
from rayci.planning.spec import Spec
from rayci.units import HOUR, hours, size


def foresee(
    planner: Planner,
    plan: Plan,
    data: Collection | None = None,
    *,
    run: Path | None = None,
    times: str | None = None,
    price: float | None = None,
    probe: bool = False,
    workers: int | None = None,
) -> dict[str, Any]:
    """Counts, what a trial reserves, the estimates, and what is left where `run` (runs/<name>) holds this sweep.

    `times` is an earlier run of the same model; `probe` measures this machine, else what a run has measured of its
    nodes counts. Raises RequestError where `times` has no table, or none of this model and kind of device, and where
    there is no GPU to measure.
    """
    from rayci.trials import machine
    from rayci.trials.knobs import Knobs

    spec = planner.spec
    own = run or Path("runs") / spec.name
    kind = "cpu" if spec.resources.gpus == 0 else "cuda"
    measured = _here(kind, own) if probe else Probe.of_run(Path(times) if times else own)
    known = known_times(spec.model, Path(times) if times else own, strict=times is not None)
    estimator = Estimator(planner, known, measured, data)
    estimate = estimator.of(plan, price, machine.workers(Knobs(workers=workers), spec.resources)).row()
    reserved = {"trial_cpus": spec.resources.cpus, "trial_gpus": spec.resources.gpus}
    begun = {} if data is None else _left(planner, plan, data, own, estimator)
    needed = {"trial_memory_bytes": estimate.pop("memory_bytes")}
    return {**plan.summary(), **reserved, **needed, **estimate, "probe": measured.row(kind), **begun}


def _here(kind: str, folder: Path) -> Probe:
    import torch

    if kind == "cuda" and not torch.cuda.is_available():
        raise RequestError(
            "the spec's trials run on GPUs, and this machine has none to measure",
            at="--probe",
            hint="--out of a run on them, which measures them before its first trial",
        )
    return Probe.here(kind, folder)


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


def print_trials(plan: Plan, format: Format) -> None:
    """Every trial, in the order in which one worker starts them."""
    rows = [
        {"trial": trial.id, "composition": trial.composition, "replicate": trial.replicate, "seed": trial.seed}
        for trial in in_turn(plan)
    ]
    show(rows, format, title=f"{plan.spec.name}: trials in the order in which one worker starts them")


def print_plan(spec: Spec, values: Mapping[str, Any], format: Format) -> None:
    """What `foresee` says, with its notes."""
    if format is Format.JSON:
        print_json(values)
    elif format is Format.CSV:
        show([{**values, "notes": "; ".join(values["notes"])}], format)
    else:
        pairs({"model": spec.model, "recompress": spec.recompress, **readable(values)}, title=spec.name)
        for note in values["notes"]:
            say(f"· {note}", console=notes)


def readable(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with units, for people; notes left out, and GPUs' hours where there are none."""
    shown: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("_", " ")
        if key == "notes" or (key.startswith("gpu_hours") and not values["gpu_hours"] and value is not None):
            continue
        if key == "probe":
            shown[key] = "none, rates are assumed" if value is None else f"{value['device']}, {value['place']}"
        elif value is None:
            shown[key.removesuffix("_bytes").replace("_", " ")] = "not known"
        elif key.endswith("_bytes"):
            shown[key.removesuffix("_bytes").replace("_", " ")] = size(value)
        elif key.endswith("_hours"):
            shown[f"{key.removesuffix('_hours')} time"] = hours(value)
        elif key.endswith("_hours_by_kind"):
            shown[f"{key.removesuffix('_hours_by_kind')} time of"] = _most(value)
        elif key == "cost":
            shown[key] = f"{value:,.2f} USD"
        else:
            shown[name] = value
    return shown


def _most(by_kind: Mapping[str, float], count: int = 5) -> str:
    """The kinds that take most, and all others together."""
    items = list(by_kind.items())
    rest = sum(taken for _, taken in items[count:])
    return ", ".join(
        f"{name} {hours(taken)}" for name, taken in [*items[:count], *([("others", rest)] if rest else [])]
    )
