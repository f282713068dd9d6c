"""Safe YAML that remembers where every key stands, and refuses duplicate keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rayci.errors import RequestError

MAX_BYTES = 1 << 20


class _Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2: `1e-5` is a number, `2:4` and `no` are text."""


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


@dataclass(frozen=True)
class Source:
    """A parsed YAML mapping and the lines of its keys."""

    name: str
    """File name as given, for messages."""
    values: dict[str, Any]
    lines: dict[tuple[str | int, ...], int]
    """Key path -> line, counted from 1."""

    def at(self, path: Sequence[str | int]) -> str:
        """`file:line: key.path` of the deepest known part of a path."""
        known = tuple(path)
        while known and known not in self.lines:
            known = known[:-1]
        line = f":{self.lines[known]}" if known in self.lines else ""
        return f"{self.name}{line}" + (f": {'.'.join(str(part) for part in path)}" if path else "")


def scalar(text: str) -> Any:
    """The value of one YAML scalar or flow collection."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader


def read(path: Path) -> Source:
    """Parse a file; RequestError with file and line for anything but a mapping."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RequestError("the spec is larger than 1 MiB", at=str(path), hint="a spec is a page of YAML")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RequestError(
            f"cannot read the spec: {reason}", at=str(path), hint="rayci run path/to/spec.yaml"
        ) from None
    return parse(text, str(path))


def parse(text: str, name: str) -> Source:
    """Parse YAML text; `name` stands for the file in messages."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        lines: dict[tuple[str | int, ...], int] = {}
        if node is not None:
            _index(node, (), lines, name, set())
        values = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "too deeply nested"
        raise RequestError(f"not valid YAML: {problem}", at=f"{name}:{mark.line + 1}" if mark else name) from None
    except ValueError as error:
        raise RequestError(f"not valid YAML: {error}", at=name) from None
    if not isinstance(values, dict):
        found = "empty" if values is None else f"a {type(values).__name__}"
        raise RequestError(f"the spec is {found}", at=name, allowed="a mapping with model, interventions, criteria …")
    return Source(name, values, lines)


def _index(
    node: yaml.Node, path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int], name: str, seen: set[int]
) -> None:
    if id(node) in seen:
        raise RequestError("aliases are not allowed in a spec", at=f"{name}:{node.start_mark.line + 1}")
    seen.add(id(node))
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise RequestError("a key is not plain text", at=f"{name}:{key.start_mark.line + 1}")
            where = (*path, key.value)
            if where in lines:
                raise RequestError(
                    f"key {key.value!r} is given twice",
                    at=f"{name}:{key.start_mark.line + 1}: {'.'.join(map(str, where))}",
                    hint=f"remove it here or in line {lines[where]}",
                )
            lines[where] = key.start_mark.line + 1
            _index(value, where, lines, name, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _index(value, (*path, index), lines, name, seen)
