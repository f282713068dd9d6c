"""Keys of a spec that a command line changes: `--set model=EleutherAI/pythia-410m --set data.edits=counterfact`."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rayci.errors import RequestError
from rayci.planning.yaml_source import Source, scalar

OPTION = "--set"
_FORM = "key=value, a key inside another after a dot: replicates=3, data.edits=counterfact, interventions.awq={bits: 4}"


def changed(source: Source, texts: Iterable[str]) -> Source:
    """The spec with these keys set, each `key.path=value` with a value as YAML writes it.

    Mappings on the way that are not there are made. Messages about such a key name the option, not the
    file. Raises RequestError for what cannot be read, or what goes through a value that is no mapping.
    """
    values, said = copy.deepcopy(source.values), dict(source.said)
    for text in texts:
        path, value = assignment(text, _FORM)
        place = f"{OPTION} {text}"
        holder = values
        for depth, key in enumerate(path[:-1], start=1):
            holder = holder.setdefault(key, {})
            if not isinstance(holder, dict):
                raise RequestError(f"{'.'.join(path[:depth])} is no mapping", at=place, allowed=_FORM)
        holder[path[-1]] = value
        said = {known: at for known, at in said.items() if known[: len(path)] != path} | {path: place}
    return replace(source, values=values, said=said)


def assignment(text: str, form: str, depth: int | None = None) -> tuple[tuple[str, ...], Any]:
    """Path and value of `key.path=value`, a value as YAML writes it.

    Raises RequestError, which says the `form`, for what cannot be read or has not `depth` keys.
    """
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path) or len(path) != (depth or len(path)):
        raise RequestError(f"cannot read {OPTION} {text!r}", at=OPTION, allowed=form)
    try:
        return path, scalar(value.strip())
    except ValueError as error:
        raise RequestError(f"cannot read the value of {OPTION} {text!r}: {error}", at=OPTION, allowed=form) from None
