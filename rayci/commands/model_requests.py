"""From the options of `apply` and `inspect` to the stage that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from rayci.errors import DataError, Faults, RequestError
from rayci.export import from_run
from rayci.export.wanted import Wanted, of_model, of_spec
from rayci.planning import yaml_source
from rayci.planning.changed_keys import assignment
from rayci.trials.asked_spec import spec_file

_YAML = (".yaml", ".yml")


class Place(TypedDict):
    """Where in a sweep: a stage by the beginning of its fingerprint, or the end of a composition."""

    stage: str | None
    only: str | None
    replicate: int
    seed: int


def wanted(
    model: str | None,
    chain: str | None,
    run: str | None,
    settings: Mapping[str, Mapping[str, Any]],
    criteria: Sequence[str],
    own: Mapping[str, Any],
    place: Place,
) -> Wanted:
    """The stage: of a run, of a spec, or of a composition on a model. RequestError for options that go with another.

    `own`: options of a composition on a model; `place`: that of a run or spec.
    """
    if place["stage"] is not None:
        _refuse("--stage, which says it all", only=place["only"], replicate=place["replicate"])
    chosen = {name: value for name, value in own.items() if value is not None}
    if run is not None:
        _refuse("--run", model=model, chain=chain, measure=criteria, settings=settings, **chosen)
        return from_run.of_run(run, **place)
    if model is None:
        raise RequestError("there is no model", allowed="MODEL CHAIN, SPEC, or --run RUN", hint='testbed "ft > rtn@4"')
    if model.endswith(_YAML):
        _refuse("a spec", chain=chain, measure=criteria, settings=settings, **chosen)
        return of_spec(spec_file(model), **place)
    _refuse("MODEL CHAIN", stage=place["stage"], only=place["only"], replicate=place["replicate"])
    if chain is None:
        raise RequestError(f"there is nothing to apply to {model}", hint=f'rayci apply {model} "wanda@0.5 > rtn@4"')
    return _of_model(model, chain, settings, criteria, {**chosen, "seed": place["seed"]})


def of_spec_with_store(spec: Path, store: str | None, only: str, replicate: int, seed: int) -> Wanted:
    """A composition of a spec, beside the stages that a run of it has stored."""
    found = of_spec(spec_file(spec), only=only, replicate=replicate, seed=seed)
    usual = Path("runs") / found.sweep.spec.name / "store"
    return replace(found, store=store or (usual if usual.is_dir() else None))


def settings(file: Path | None, assigned: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Method -> settings, of a YAML file and of `method.setting=value`; RequestError where they cannot be read."""
    values: dict[str, dict[str, Any]] = {}
    for method, own in (yaml_source.read(file).values if file is not None else {}).items():
        if not isinstance(own, dict):
            raise RequestError(f"{method} = {own!r}", at=str(file), allowed="method: {setting: value}")
        values[method] = dict(own)
    for text in assigned:
        (method, name), value = assignment(text, "method.setting=value", depth=2)
        values.setdefault(method, {})[name] = value
    return values


def _of_model(
    model: str, chain: str, settings: Mapping[str, Mapping[str, Any]], criteria: Sequence[str], chosen: dict[str, Any]
) -> Wanted:
    try:
        return of_model(model, chain, settings=settings, criteria=criteria, **chosen)
    except RequestError as error:
        raise (error if "data" in chosen else _naming_the_option(error)) from None


def _naming_the_option(error: RequestError) -> RequestError:
    """The same error, which says of data that are missing how the command line takes them."""
    if isinstance(error, Faults):
        return Faults(map(_naming_the_option, error.faults))
    if not isinstance(error, DataError):
        return error
    hint = f"--data FOLDER: {error.hint}" if error.hint else "--data FOLDER"
    return DataError(error.problem, at=error.at, allowed=error.allowed, hint=hint)


def _refuse(beside: str, **options: Any) -> None:
    """RequestError for options that have no meaning here."""
    given = [
        f"--{name.replace('_', '-')}" if name not in ("model", "chain") else name.upper()
        for name, value in options.items()
        if value
    ]
    if given:
        raise RequestError(f"{', '.join(given)} beside {beside}", hint="rayci apply --help")
