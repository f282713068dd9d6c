"""The text form of a composition: `memit > wanda@0.5`, a step being `name[@strength][{key=value,…}]`.

A value `a..b` stands for a run of steps, one for each whole number: `memit{batch=0..2}` is
`memit{batch=0} > memit{batch=1} > memit{batch=2}`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import yaml

from rayci.errors import RequestError
from rayci.planning.yaml_source import scalar

_STEP = re.compile(r"(?P<name>[A-Za-z_][\w.-]*)(?:@(?P<strength>[^\s{}@>]+))?\s*(?:\{(?P<settings>.*)\})?", re.DOTALL)
_RATIO = re.compile(r"[0-9]{1,4}:[0-9]{1,4}")
_WORD = re.compile(r"[a-z][a-z0-9_]*")
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_RUN = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
_UP_TO_A_KEY = re.compile(r"[^{]*\{([^\[\]{}'\"]*,)?\w+=")
_COUNT = re.compile(r"(?P<first>[0-9]{1,9})(\.\.(?P<last>[0-9]{1,9}))?(?P<after>[,}].*)", re.DOTALL)
"""What follows the `=` of a whole number, or of a run of them."""
_LONGEST_RUN = 1000
_BETWEEN = " > "
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
        return join(map(str, self.steps))


def parse(text: str) -> Composition:
    """A composition from its text form; RequestError shows the step that cannot be read."""
    if not text.strip():
        raise RequestError("the composition is empty", allowed="name[@strength][{key=value,…}] joined by ' > '")
    return Composition(tuple(step for part in _split(text, ">") for step in _parse_steps(part.strip(), text)))


def join(steps: Iterable[str]) -> str:
    """Step texts to the text of a composition or chain; runs of steps are folded."""
    return reduce(joined, steps, "")


def joined(before: str, step: str) -> str:
    """The text of a composition or chain after one more step."""
    if before.endswith("}") and step.endswith("}") and step[: step.index("{") + 1] in before:  # few go on from here
        *rest, last = (part.strip() for part in _split(before, ">"))
        if run := _extended(last, step):
            return _BETWEEN.join([*rest, run])
    return f"{before}{_BETWEEN}{step}" if before else step


def _extended(run: str, step: str) -> str | None:
    """The text of a step, or of a run, and the next one together; None where they are no run."""
    differs = next((place for place, (left, right) in enumerate(zip(run, step, strict=False)) if left != right), 0)
    start = run.rfind("=", 0, differs) + 1
    held, more = _COUNT.fullmatch(run, start), _COUNT.fullmatch(step, start)
    if not (_UP_TO_A_KEY.fullmatch(run, 0, start) and held and more):
        return None
    if more["last"] or more["after"] != held["after"]:
        return None
    first, end = int(held["first"]), int(more["first"])
    follows = end == int(held["last"] or first) + 1 and end - first < _LONGEST_RUN
    return f"{run[:start]}{first}..{end}{held['after']}" if follows else None


def _parse_steps(part: str, whole: str) -> list[Step]:
    """The step that a text names, or the run of steps."""
    match = _STEP.fullmatch(part)
    if match is None:
        raise RequestError(
            f"cannot read step {part!r} of {whole!r}",
            allowed="name[@strength][{key=value,…}]",
            hint="memit > wanda@0.5",
        )
    settings: dict[str, Any] = {}
    runs: dict[str, range] = {}
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
        if run := _RUN.fullmatch(value):
            runs[key] = range(int(run[1]), int(run[2]) + 1)
    strength = None if match["strength"] is None else read_strength(match["strength"], part)
    return [Step(match["name"], strength, settings | chosen) for chosen in _in_turn(runs, part)]


def _in_turn(runs: Mapping[str, range], part: str) -> list[dict[str, int]]:
    """The setting that changes from step to step, with its value in each; one step without it where nothing does."""
    if not runs:
        return [{}]
    (key, values), *others = runs.items()
    if others or not 0 < len(values) <= _LONGEST_RUN:
        given = f"{values.start}..{values.stop - 1}"
        raise RequestError(
            f"two settings of step {part!r} are runs" if others else f"{key} = {given} of step {part!r} is no run",
            allowed=f"one setting first..last of a step, rising, at most {_LONGEST_RUN} steps",
            hint="memit{batch=0..99}",
        )
    return [{key: value} for value in values]


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
    if isinstance(value, str) and _RUN.fullmatch(value):
        return f"'{value}'"
    return yaml.safe_dump([value], default_flow_style=True, width=1 << 20, allow_unicode=True).strip()[1:-1]
