"""Safe YAML that remembers where every key stands, and refuses what a spec does not need.

A spec holds text, numbers, true, false, null, lists and mappings. Duplicate keys, keys that are no
text, tags, aliases and control characters are errors with a line; so is a number that another
reader of YAML would read otherwise (`010`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rayci.errors import RequestError
from rayci.storage.user_paths import path_of, read_text

MAX_BYTES = 1 << 20
_DIGITS = 18
"""Digits of a whole number that 64 bits always hold."""
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2: `1e-5` is a number, `2:4` and `no` are text."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _refusal("aliases are not allowed", event)
        if (tag := getattr(event, "tag", None)) is not None:
            raise _refusal(f"tags are not allowed, {tag} is one", event)
        if isinstance(event, yaml.ScalarEvent) and _UNFIT.search(event.value):
            raise _refusal(f"{event.value[:80]!r} holds a control character, or half of a character", event)
        return super().compose_node(parent, index)


def _refusal(problem: str, where: yaml.Event | yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, where.start_mark)  # type: ignore[arg-type]


def _whole_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    digits = node.value.lstrip("+-")
    if len(digits) > _DIGITS:
        raise _refusal(f"a number of {len(digits)} digits", node)
    if digits.startswith("0") and len(digits) > 1:
        raise _refusal(f"{node.value} has a leading zero: in some YAML it is octal, in some decimal", node)
    return int(node.value)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in (
    ("bool", r"true|True|false|False", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


@dataclass(frozen=True)
class Source:
    """A parsed YAML mapping and the lines of its keys."""

    name: str
    """File name as given, for messages."""
    values: dict[str, Any]
    lines: dict[tuple[str | int, ...], int]
    """Key path -> line, counted from 1."""
    said: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """Key path -> where a key, with all below it, was said instead of in the file."""

    def at(self, path: Sequence[str | int]) -> str:
        """`file:line: key.path` of the deepest known part of a path, or what was said instead of the file."""
        known = tuple(path)
        for instead, place in self.said.items():
            if known[: len(instead)] == instead:
                return place
        while known and known not in self.lines:
            known = known[:-1]
        line = f":{self.lines[known]}" if known in self.lines else ""
        return f"{self.name}{line}" + (f": {'.'.join(str(part) for part in path)}" if path else "")


def scalar(text: str) -> Any:
    """The value of one YAML scalar or flow collection; ValueError for what is none."""
    try:
        return _document(text)[1]
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(_problem(error)) from None


def read(path: Path) -> Source:
    """Parse a file; RequestError with file and line for anything but a mapping."""
    path_of(path)
    return parse(read_text(path.expanduser(), MAX_BYTES, "the spec", "rayci run path/to/spec.yaml"), str(path))


def parse(text: str, name: str) -> Source:
    """Parse YAML text; `name` stands for the file in messages."""
    try:
        node, values = _document(text)
        lines: dict[tuple[str | int, ...], int] = {}
        if node is not None:
            _index(node, (), lines)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark else name
        raise RequestError(f"not valid YAML: {_problem(error)}", at=place) from None
    except RequestError as error:
        raise RequestError(error.problem, at=f"{name}:{error.at}", hint=error.hint) from None
    if not isinstance(values, dict):
        kind = "empty" if values is None else f"a {type(values).__name__}"
        raise RequestError(f"the spec is {kind}", at=name, allowed="a mapping with model, interventions, criteria …")
    return Source(name, values, lines)


def _document(text: str) -> tuple[yaml.Node | None, Any]:
    """The nodes of the one document in a text, and its value."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _problem(error: Exception) -> str:
    """What the reader of YAML says, in one line."""
    if isinstance(error, RecursionError):
        return "too deeply nested"
    return str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)


def _index(node: yaml.Node, path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> None:
    """Note the line of every key below a node; RequestError for a key that is no text, or is given twice."""
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = key.start_mark.line + 1
            if key.tag != "tag:yaml.org,2002:str":
                raise RequestError(f"a key of {'.'.join(map(str, path)) or 'the spec'} is not text", at=str(here))
            key_path = (*path, key.value)
            if key_path in lines:
                raise RequestError(
                    f"key {key.value!r} is given twice",
                    at=f"{here}: {'.'.join(map(str, key_path))}",
                    hint=f"remove it here or in line {lines[key_path]}",
                )
            lines[key_path] = here
            _index(value, key_path, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _index(value, (*path, index), lines)
