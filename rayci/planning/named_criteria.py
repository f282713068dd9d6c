"""Criteria as a spec names them: `edit_success`, and beside it `edit_success{batch=9}`, a criterion of its own.

Settings in a name tell apart what is measured twice in one sweep: whether the first edit batch survives the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import new_class
from typing import Any

from rayci import registry
from rayci.criterion import Criterion
from rayci.errors import RequestError
from rayci.planning.composition import Step, parse


def names_of(text: str) -> list[str]:
    """The names that a text stands for: one for each number of a run, `edit_success{batch=0..9}`."""
    return [str(step) for step in _steps(text)] if "{" in text else [text]


def criterion_class(name: str) -> type[Criterion]:
    """The class of a criterion; one with settings in its name is called by all of it."""
    if "{" not in name:
        return registry.criterion(name)
    (step,) = _steps(name)
    return _renamed(registry.criterion(step.method), name)


def configured(name: str, settings: Mapping[str, Any]) -> Criterion:
    """The criterion with the settings of its name and these; pydantic's ValidationError where they do not fit."""
    own = _steps(name)[0].settings if "{" in name else {}
    for key in own.keys() & settings.keys():
        raise RequestError(f"{name}: {key} is given twice", hint="in the name alone", key=(key,))
    return criterion_class(name).model_validate({**own, **settings})


def _steps(text: str) -> tuple[Step, ...]:
    steps = parse(text).steps
    if len({step.method for step in steps}) > 1 or any(step.strength is not None for step in steps):
        raise RequestError(f"{text!r} is not the name of a criterion", allowed="name or name{setting=value,…}")
    return steps


@cache
def _renamed(base: type[Criterion], name: str) -> type[Criterion]:
    members = {"name": name, "__module__": base.__module__, "__doc__": base.__doc__}
    made: type[Criterion] = new_class(base.__name__, (base,), exec_body=lambda own: own.update(members))
    return made
