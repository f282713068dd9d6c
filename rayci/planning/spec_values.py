"""Values that stand in a spec, each judged for itself: its shape, sweeps, settings of criteria, names of places."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rayci import registry
from rayci.data import asked
from rayci.errors import RequestError, nearest
from rayci.intervention import sweep_hint
from rayci.planning.composition import read_strength
from rayci.planning.named_criteria import configured, criterion_class
from rayci.planning.yaml_source import Source
from rayci.settings import Strict, complaint, settings_error
from rayci.storage.user_paths import path_of


def shape_error(error: ValidationError, owners: Mapping[str, type[Strict]], source: Source) -> RequestError:
    """The first problem of a spec's shape; `owners`: key of a section, "" for the spec itself -> what it must be."""
    first = error.errors()[0]
    path = [part for part in first["loc"] if isinstance(part, int) or part not in ("str", "dict[str,any]", "[key]")]
    owner = owners.get(str(path[0]) if len(path) > 1 else "", owners[""])
    if first["type"] == "extra_forbidden":
        known = list(owner.model_fields)
        key = str(path[-1])
        return RequestError(
            f"unknown key {key!r}", at=source.at(path), allowed=", ".join(known), hint=nearest(key, known)
        )
    if first["type"] == "missing":
        return RequestError(f"{path[-1]} is missing", at=source.at(path[:-1]), hint=f"add `{path[-1]}:`")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    given = f" = {first['input']!r}" if path and not isinstance(first["input"], dict) else ""
    name = ".".join(map(str, path)) or "spec"
    return RequestError(f"{name}{given}: {complaint(first)}{more}", at=source.at(path))


def check_places(model: str, data: str | Mapping[str, Any] | None, source: Source) -> None:
    """Neither the model nor the data need be there, but their names must be such that they can be, and be known."""
    named: dict[tuple[str, ...], str] = {("model",): model}
    if isinstance(data, str):
        named[("data",)] = data
    else:
        try:
            sources = asked(data or {})
        except RequestError as error:
            raise error.located(source.at(("data", *error.key))) from None
        named |= {("data", part): of_part.path for part, of_part in sources.items() if of_part.path is not None}
    for key, path in named.items():
        path_of(path, source.at(key))


def check_sweeps(method: str, settings: Mapping[str, Any], source: Source) -> None:
    """RequestError for an unknown method, or a `{sweep: […]}` that is no list of different values."""
    path: tuple[str, ...] = ("interventions", method)
    try:
        registry.intervention(method)
        for key, value in settings.items():
            if is_sweep(value):
                path = ("interventions", method, key)
                _check_sweep(method, key, value)
    except RequestError as error:
        raise error.located(source.at(path)) from None


def _check_sweep(method: str, key: str, value: Mapping[str, Any]) -> None:
    values = value["sweep"]
    if set(value) != {"sweep"}:
        raise RequestError(
            f"{method}.{key} has keys beside sweep: {', '.join(set(value) - {'sweep'})}", allowed="sweep alone"
        )
    if not isinstance(values, list) or not values:
        raise RequestError(f"{method}.{key}: sweep is {values!r}", allowed="a list of at least one value")
    if len({repr(item) for item in values}) < len(values):
        raise RequestError(f"{method}.{key}: sweep {values!r} has a value twice", allowed="each value once")


def check_criterion(name: str, settings: Mapping[str, Any], source: Source) -> None:
    """RequestError for an unknown criterion, or settings that it does not take."""
    path = ("criteria", name)
    try:
        cls = criterion_class(name)
        configured(name, settings)
    except RequestError as error:
        raise error.located(source.at((*path, *error.key))) from None
    except ValidationError as error:
        unknown = [str(fault["loc"][0]) for fault in error.errors()[:1] if fault["type"] == "extra_forbidden"]
        hint = nearest(unknown[0], cls.model_fields) if unknown else None
        problem = settings_error(name, error, allowed=", ".join(cls.model_fields) or "no settings", hint=hint)
        raise problem.located(source.at((*path, *problem.key))) from None


def is_sweep(value: Any) -> bool:
    """Whether a setting is given as several values to try."""
    return isinstance(value, Mapping) and "sweep" in value


def strength_of(method: str, name: str, value: Any) -> float | str | None:
    """A value of γ as a step holds it; RequestError where it is no number."""
    if isinstance(value, str):
        return read_strength(value, f"{method}.{name}")
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)):
        return value
    hint = sweep_hint(name, value) if isinstance(value, (list, dict)) else f"rayci methods {method}"
    raise RequestError(f"{method}: {name} = {value!r}: not a number", allowed="a number", hint=hint, key=(name,))
