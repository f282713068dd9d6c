"""The text form of a composition: `memit > wanda@0.5`, a step being `name[@strength][{key=value,…}]`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from rayci.errors import RequestError
from rayci.planning.yaml_source import scalar

_STEP = re.compile(r"(?P<name>[A-Za-z_][\w.-]*)(?:@(?P<strength>[^\s{}@>]+))?\s*(?:\{(?P<settings>.*)\})?", re.DOTALL)
_RATIO = re.compile(r"[0-9]{1,4}:[0-9]{1,4}")
_WORD = re.compile(r"[a-z][a-z0-9_]*")
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_TOKEN = re.compile(r"""(?<=[=,\[{:\s])(?:"(?:\\.|[^"\\])*"|'(?:''|[^'])*')|.""", re.DOTALL)
"""A quoted text where YAML has one, at the start of a value; or one character."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step as asked: a method, its γ, and settings other than the sweep's own."""

    method: str
    strength: float | str | None = None
    """A number, `n:m` for semi-structured sparsity, or a word that the method knows: a number format."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    _text: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = self.method if self.strength is None else f"{self.method}@{_number(self.strength)}"
        if self.settings:
            text += "{" + ",".join(f"{key}={_scalar(value)}" for key, value in sorted(self.settings.items())) + "}"
        object.__setattr__(self, "_text", text)  # once: a large plan asks for it millions of times

    def __str__(self) -> str:
        return self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, slots=True)
class Composition:
    """Steps in the order in which they are applied; none = the untouched model."""

    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return " > ".join(str(step) for step in self.steps)


def parse(text: str) -> Composition:
    """A composition from its text form; RequestError shows the step that cannot be read."""
    if not text.strip():
        raise RequestError("the composition is empty", allowed="name[@strength][{key=value,…}] joined by ' > '")
    return Composition(tuple(_parse_step(part.strip(), text) for part in _split(text, ">")))


def join(steps: Iterable[str]) -> str:
    """Step texts to the text of a composition or chain."""
    return " > ".join(steps)


def _parse_step(part: str, whole: str) -> Step:
    match = _STEP.fullmatch(part)
    if match is None:
        raise RequestError(
            f"cannot read step {part!r} of {whole!r}",
            allowed="name[@strength][{key=value,…}]",
            hint="memit > wanda@0.5",
        )
    settings: dict[str, Any] = {}
    for entry in _split(match["settings"], ",") if match["settings"] else ():
        key, _, value = (text.strip() for text in entry.partition("="))
        if not (key and value) or key in settings:
            raise RequestError(
                f"cannot read setting {entry.strip()!r} of step {part!r}", allowed="key=value, each key once"
            )
        try:
            settings[key] = scalar(value)
        except ValueError as error:
            raise RequestError(f"cannot read setting {entry.strip()!r} of step {part!r}: {error}") from None
    return Step(match["name"], None if match["strength"] is None else read_strength(match["strength"], part), settings)


def read_strength(text: str, step: str) -> float | str:
    """γ from its text form, a number, `n:m` or a word; RequestError that names the step where it is none of them."""
    if _RATIO.fullmatch(text) or _WORD.fullmatch(text):
        return text
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    raise RequestError(f"cannot read strength {text!r} of {step!r}", allowed="a number, n:m, or a number format")


def _split(text: str, separator: str) -> list[str]:
    """Split at separators outside of brackets and quotes."""
    parts, depth, start = [], 0, 0
    for token in _TOKEN.finditer(text):
        depth += (token[0] in "{[(") - (token[0] in "}])")
        if token[0] == separator and depth == 0:
            parts.append(text[start : token.start()])
            start = token.end()
    return [*parts, text[start:]]


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else repr(int(value)) if float(value).is_integer() else repr(float(value))


def _scalar(value: Any) -> str:
    """YAML that stays whole between commas and brackets, as it does in a list."""
    return yaml.safe_dump([value], default_flow_style=True, width=1 << 20, allow_unicode=True).strip()[1:-1]
