"""The folders that a spec's methods name, and the spec with other names in their places."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from rayci import registry
from rayci.planning.composition import Composition, Step, parse
from rayci.planning.spec import Spec
from rayci.planning.spec_values import is_sweep
from rayci.settings import Folders

Rename = Callable[[str, Folders], str]
"""(folder as it is named, mark of its field) -> another name of it."""


def named(spec: Spec) -> dict[str, Folders]:
    """Every folder that a method of the spec reads, with the mark of its field; none that ships with rayci."""
    steps = [*itertools.chain(*map(spec.variants, spec.interventions))]
    steps += itertools.chain(*(parse(text).steps for text in spec.compose.also))
    marked = {step.method for step in steps if registry.intervention(step.method).folder_marks()}
    found = itertools.chain(*(spec.configure(step).folders() for step in steps if step.method in marked))
    return {source: mark for source, mark in found if source not in mark.shipped}


def renamed(spec: Spec, rename: Rename) -> Spec:
    """The spec with every folder named as `rename` names it; the same object where methods name none."""
    if not named(spec):
        return spec
    compose = {key: tuple(in_text(text, rename) for text in getattr(spec.compose, key)) for key in ("also", "first")}
    changes = {
        "interventions": {method: _settings(method, given, rename) for method, given in spec.interventions.items()},
        "compose": spec.compose.model_copy(update=compose),
    }
    return spec.model_copy(update=changes)


def in_text(text: str, rename: Rename) -> str:
    """The same in the text of a composition."""
    asked = parse(text).steps
    steps = tuple(Step(one.method, one.strength, _settings(one.method, one.settings, rename)) for one in asked)
    return text if steps == asked else str(Composition(steps))


def in_chain(chain: str, spec: Spec, rename: Rename) -> str:
    """The same in a text for people, re-compressions included: no composition that could be read again."""
    for source, mark in sorted(named(spec).items(), reverse=True):  # a longer name before one that it begins with
        chain = chain.replace(source, rename(source, mark))
    return chain


def _settings(method: str, given: Mapping[str, Any], rename: Rename) -> dict[str, Any]:
    marks = registry.intervention(method).folder_marks()
    return {key: _value(value, marks[key], rename) if key in marks else value for key, value in given.items()}


def _value(value: Any, mark: Folders, rename: Rename) -> Any:
    if is_sweep(value):
        return {"sweep": [_value(one, mark, rename) for one in value["sweep"]]}
    if isinstance(value, list | tuple):
        return [_value(one, mark, rename) for one in value]
    return rename(value, mark) if isinstance(value, str) and value not in mark.shipped else value
