"""Which model is asked for: one stage of one trial of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rayci import registry
from rayci.data import collect
from rayci.data.data_presets import preset_of
from rayci.errors import RequestError
from rayci.model.folder import TESTBED
from rayci.planning import spec as specs
from rayci.planning import yaml_source
from rayci.planning.composition import Step, parse
from rayci.planning.plan import Stage, Trial
from rayci.planning.sweep import Sweep
from rayci.planning.yaml_source import Source

PLACEHOLDER = "avg_bits"
"""A spec has a criterion; this one reads no data."""
_BATCH = 50
"""Edits of a batch where they are not the user's own, all of which are one."""
_SHOWN = 5


@dataclass(frozen=True)
class Wanted:
    """One stage of one trial of a sweep."""

    sweep: Sweep
    trial: Trial
    depth: int
    """Number of steps applied."""
    store: Path | str | None = None
    """Where a run has stored stages that building may start from."""

    @property
    def stage(self) -> Stage:
        """The stage."""
        return self.trial.stages[self.depth]


def of_model(
    model: str,
    composition: str,
    *,
    data: str | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    criteria: Sequence[str] = (),
    **chosen: Any,
) -> Wanted:
    """A composition on a model, outside of any sweep.

    `data`: a folder, all of whose edits are one batch, or `published`. `chosen` are further keys of a
    spec: seed, dtype, preset, recompress, edit_batch. Raises RequestError with all that is wrong before weights are
    loaded.
    """
    asked = parse(composition)
    supplied: str | dict[str, str] | None
    supplied = data if data is not None or model == TESTBED else {}  # no data, which is right for many methods
    own = data is not None and preset_of(data) is None
    values = {
        "name": "reproduce",
        "model": model,
        "edit_batch": max(1, len(collect(supplied, model).edits)) if own else _BATCH,
        "interventions": interventions(asked.steps, settings or {}),
        "compose": {"pairs": "none", "singles": False, "also": [str(asked)]},
        "criteria": list(criteria) or [PLACEHOLDER],
        "resources": {"gpus": 1} if torch.cuda.is_available() else {},
        **({} if supplied is None else {"data": supplied}),
        **chosen,
    }
    return _named(Sweep.open(specs.from_source(Source("rayci apply", values, {}))), str(asked), 0, 0)


def of_spec(
    path: Path, *, stage: str | None = None, only: str | None = None, replicate: int = 0, seed: int = 0
) -> Wanted:
    """A stage of a spec's sweep by the beginning of its fingerprint, or the end of a composition.

    `only` may be left out where the spec has one composition. Raises RequestError.
    """
    source = yaml_source.read(path)
    return find(Sweep.open(specs.from_source(source), source), stage, only, replicate, seed)


def find(sweep: Sweep, stage: str | None, only: str | None, replicate: int, seed: int) -> Wanted:
    """The stage whose fingerprint begins with `stage`, or the end of the composition `only`; RequestError for none."""
    if stage is not None:
        return _by_fingerprint(sweep, stage)
    for name, value, count in (("replicate", replicate, sweep.spec.replicates), ("seed", seed, sweep.spec.seeds)):
        if not 0 <= value < count:
            raise RequestError(f"{name} = {value}", at=f"--{name}", allowed=f"0 to {count - 1}")
    if only is None:
        known = list(dict.fromkeys(trial.composition for trial in sweep.planner.plan().trials))
        if len(known) > 1:
            raise RequestError(
                f"{sweep.spec.name} has {len(known)} compositions", at="--only", hint=f'--only "{known[-1]}"'
            )
        (only,) = known
    return _named(sweep, str(specs.composition(sweep.spec, only, "--only")), replicate, seed)


def interventions(steps: Sequence[Step], settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The `interventions` of a spec for these steps: the settings, and every strength that a method is applied at."""
    chosen: dict[str, dict[str, Any]] = {step.method: dict(settings.get(step.method, {})) for step in steps}
    for method in settings:
        registry.intervention(method)
        if method not in chosen:
            raise RequestError(f"settings of {method}, which is not applied", at="--set", allowed=", ".join(chosen))
    for step in steps:
        strength = registry.intervention(step.method).strength
        gamma = None if strength is None else step.settings.get(strength.name, step.strength)
        if strength is None or gamma is None:
            continue
        if strength.name in settings.get(step.method, {}):
            raise RequestError(
                f"{step.method}: {strength.name} is given twice, in {step} and as a setting", hint=f"{step} alone"
            )
        swept = chosen[step.method].setdefault(strength.name, {"sweep": []})["sweep"]
        number = int(gamma) if isinstance(gamma, float) and gamma.is_integer() else gamma
        swept += [] if number in swept else [number]
    return chosen


def _named(sweep: Sweep, composition: str, replicate: int, seed: int) -> Wanted:
    trial = sweep.planner.trial(composition, replicate, seed)
    return Wanted(sweep, trial, len(trial.stages) - 1)


def _by_fingerprint(sweep: Sweep, prefix: str) -> Wanted:
    plan = sweep.planner.plan()
    found = [stage for digest, stage in plan.stages.items() if digest.startswith(prefix)] if prefix else []
    if len(found) != 1:
        chains = [f"{stage.fingerprint[:12]} {stage.chain or 'untouched'}" for stage in found]
        raise RequestError(
            f"{len(found) or 'no'} stages of {sweep.spec.name} have a fingerprint that begins with {prefix!r}",
            at="--stage",
            allowed="; ".join(chains[:_SHOWN]) or "the column stage_fingerprint of the table",
            hint="more of it"
            if found
            else "another model, other data or another version of a method makes other stages",
        )
    (stage,) = found
    trial = next(trial for trial in plan.trials if stage in trial.stages)
    return Wanted(sweep, trial, stage.depth)
