"""A sweep as a user writes it: YAML to a validated, frozen Spec."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from rayci import registry
from rayci.criterion import Criterion
from rayci.data import asked
from rayci.data.data_presets import Pair, preset_of
from rayci.data.records import PARTS, STANDS_IN
from rayci.errors import RequestError, nearest
from rayci.intervention import Intervention, sweep_hint
from rayci.kinds import Recompress
from rayci.planning import yaml_source
from rayci.planning.compose import Compose
from rayci.planning.composition import Composition, Step, parse, read_strength
from rayci.planning.resources import Resources
from rayci.planning.yaml_source import Source
from rayci.settings import Strict, settings_error
from rayci.storage.user_paths import path_of

MAX_TRIALS = 1_000_000
"""Trials above which a spec is refused: their plan would not fit into memory, and nobody has a century."""


class Spec(Strict):
    """Everything that decides what a sweep computes."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    """Name of the sweep; the run lives in `runs/<name>`. Default: the file's name."""
    model: Annotated[str, Field(min_length=1)] = "testbed"
    """`testbed`, a folder, or a hub id `owner/name[@revision]`."""
    data: str | dict[str, Any] | None = None
    """`testbed`, `published`, a folder of JSON Lines files, or part -> source: a data set, a file, a hub id, or a
    mapping with source, path, split, topics, limit, revision. `preset: published` among the parts gives those
    that are not named. Default: testbed for the testbed."""
    allow_overlap: tuple[tuple[str, str], ...] = ()
    """Pairs of parts whose texts may overlap, `[[retain, evaluation]]`; a preset brings its own. Rows record them."""
    preset: str | None = None
    """Preset of every method. Default: `testbed` on the testbed, else `published`."""
    replicates: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of edit batches."""
    edit_batch: Annotated[int, Field(ge=1)] = 50
    """Edits in a batch."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the sweep."""
    seeds: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of seed indices; each draws anew."""
    interventions: dict[str, dict[str, Any]]
    """Method -> settings; a value `{sweep: [a, b]}` tries several."""
    compose: Compose = Compose()
    recompress: Recompress = Recompress.REFIT
    """What happens to a compressor's work after a later edit or unlearning."""
    criteria: dict[str, dict[str, Any]]
    """Criterion -> settings; a plain list of names is enough."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Weights and arithmetic of every stage."""
    attention: Literal["sdpa", "eager"] = "sdpa"
    """Attention kernel of every stage."""
    modules: dict[str, Any] | None = None
    """Module map of an architecture that rayci does not know."""
    trust_remote_code: bool = False
    """Whether code that ships with the model may run."""
    resources: Resources = Resources()

    @field_validator("interventions", mode="before")
    @classmethod
    def _no_settings_is_empty(cls, value: Any) -> Any:
        return {k: {} if v is None else v for k, v in value.items()} if isinstance(value, dict) else value

    @field_validator("allow_overlap")
    @classmethod
    def _pairs_of_parts(cls, value: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        for part in itertools.chain(*value):
            if part not in PARTS:
                near = nearest(part, PARTS)
                raise ValueError(f"no data part {part!r}" + (f", try {near}" if near else ""))
        return value

    @field_validator("criteria", mode="before")
    @classmethod
    def _list_of_names(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return cls._no_settings_is_empty(value)
        merged: dict[Any, Any] = {}
        for item in value:
            if not isinstance(item, (str, dict)):
                raise ValueError(f"{item!r} is not the name of a criterion")
            entry = item if isinstance(item, dict) else {item: {}}
            for key, settings in entry.items():
                if key in merged:
                    raise ValueError(f"{key!r} is listed twice")
                merged[key] = {} if settings is None else settings
        return merged

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.interventions:
            raise ValueError("interventions is empty")
        if not self.criteria:
            raise ValueError("criteria is empty")
        return self

    def __repr__(self) -> str:
        methods, criteria = ", ".join(self.interventions), ", ".join(self.criteria)
        return (
            f"Spec({self.name}: {self.model}, {self.replicates} replicates, {self.seeds} seeds\n"
            f"  interventions: {methods}\n  criteria: {criteria})"
        )

    @property
    def effective_preset(self) -> str:
        """The preset in force."""
        return self.preset or ("testbed" if self.model == "testbed" else "published")

    def swept(self, method: str) -> dict[str, list[Any]]:
        """The settings of a method that are tried at several values."""
        return {key: value["sweep"] for key, value in self.interventions[method].items() if _is_sweep(value)}

    def variants(self, method: str) -> list[Step]:
        """One step for each combination of the method's swept settings."""
        swept = self.swept(method)
        strength = registry.intervention(method).strength
        steps = []
        for values in itertools.product(*swept.values()):
            chosen = dict(zip(swept, values, strict=True))
            gamma = None
            if strength is not None:
                gamma = chosen.pop(strength.name, self.interventions[method].get(strength.name))
                gamma = _gamma(method, strength.name, gamma)
            steps.append(Step(method, gamma, chosen))
        return steps

    def configure(self, step: Step) -> Intervention:
        """The intervention of a step: preset, then the spec's settings, then the step's own."""
        cls = registry.intervention(step.method)
        return cls.configure(self.effective_preset, step.strength, {**self.constants(step), **step.settings})

    def constants(self, step: Step) -> dict[str, Any]:
        """The settings that the spec gives to every step of a method, but for those that this one's strength says."""
        by_strength = registry.intervention(step.method).from_strength(step.strength)
        return {
            key: value
            for key, value in self.interventions.get(step.method, {}).items()
            if not _is_sweep(value) and key not in by_strength
        }

    def measured(self) -> list[Criterion]:
        """The criteria, configured, in the order of the spec."""
        return [registry.criterion(name).model_validate(settings) for name, settings in self.criteria.items()]

    def overlaps_allowed(self) -> list[Pair]:
        """Pairs of parts whose texts may overlap, each sorted: the spec's, and those of its preset of data."""
        preset = preset_of(self.data)
        pairs = (*self.allow_overlap, *(preset.allow_overlap if preset else ()))
        return sorted({(min(pair), max(pair)) for pair in pairs})

    def read_by_methods(self) -> frozenset[str]:
        """Parts of the data that its methods name."""
        steps = [*itertools.chain(*map(self.variants, self.interventions))]
        steps += itertools.chain(*(parse(text).steps for text in self.compose.also))
        return frozenset[str]().union(*(self.configure(step).needs for step in steps))

    def reads(self) -> frozenset[str]:
        """Parts of the data that its methods and criteria read, or that stand in for these."""
        needed = self.read_by_methods().union(*(criterion.needs for criterion in self.measured()))
        return needed | {STANDS_IN[part] for part in needed if part in STANDS_IN}


def load(path: Path | str) -> Spec:
    """Read and check a spec file; RequestError names file, line and key."""
    return from_source(yaml_source.read(Path(path)))


def from_source(source: Source) -> Spec:
    """Check parsed YAML: first its shape, then every method, setting and criterion."""
    try:
        spec = Spec.model_validate({"name": default_name(source.name), **source.values})
    except ValidationError as error:
        raise _shape_error(error, source) from None
    _check_paths(spec, source)
    for method, settings in spec.interventions.items():
        _check_sweeps(method, settings, source)
    _check_preset(spec, source)
    _check_size(spec, source)
    for method in spec.interventions:
        _check_variants(spec, method, source)
    for name, settings in spec.criteria.items():
        _check_criterion(name, settings, source)
    for index, text in enumerate(spec.compose.also):
        _check_composition(spec, text, source.at(("compose", "also", index)))
    return spec


def default_name(file: str) -> str:
    """The name of a spec that does not give one: the file's, with what a folder's name should not hold replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(file).stem).lstrip("-_.") or "sweep"


def composition(spec: Spec, text: str, at: str | None = None) -> Composition:
    """A composition in text form, checked against the spec's methods and settings."""
    return _check_composition(spec, text, at or "composition")


def _check_paths(spec: Spec, source: Source) -> None:
    """Neither the model nor the data need be there, but their names must be such that they can be, and be known."""
    named: dict[tuple[str, ...], str] = {("model",): spec.model}
    if isinstance(spec.data, str):
        named[("data",)] = spec.data
    else:
        try:
            sources = asked(spec.data or {})
        except RequestError as error:
            raise error.located(source.at(("data", *error.key))) from None
        named |= {("data", part): of_part.path for part, of_part in sources.items() if of_part.path is not None}
    for key, path in named.items():
        path_of(path, source.at(key))


def _check_sweeps(method: str, settings: Mapping[str, Any], source: Source) -> None:
    path: tuple[str, ...] = ("interventions", method)
    try:
        registry.intervention(method)
        for key, value in settings.items():
            if _is_sweep(value):
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


def _check_preset(spec: Spec, source: Source) -> None:
    """A preset that no method of the spec has would leave all of them at their defaults, without a word."""
    known = {"published", "testbed"}.union(*(registry.intervention(method).presets for method in spec.interventions))
    if spec.preset is not None and spec.preset not in known:
        raise RequestError(
            f"no method of the spec has a preset {spec.preset!r}",
            at=source.at(("preset",)),
            allowed=", ".join(sorted(known)),
            hint=nearest(spec.preset, known),
        )


def _check_size(spec: Spec, source: Source) -> None:
    """Counts trials, without making one."""
    kinds = {method: registry.intervention(method).kind for method in spec.interventions}
    variants = {method: math.prod(map(len, spec.swept(method).values())) for method in kinds}
    trials = spec.compose.count(kinds, variants) * spec.replicates * spec.seeds
    largest = max([trials, *variants.values()])
    if largest > MAX_TRIALS:
        raise RequestError(
            f"the spec asks for up to {largest:,} trials",
            at=source.at(("interventions",)),
            allowed=f"{MAX_TRIALS:,}",
            hint="fewer values in `sweep`, or compose: {pairs: none} and the wanted ones in `also`",
        )


def _check_variants(spec: Spec, method: str, source: Source) -> None:
    try:
        for step in spec.variants(method):
            spec.configure(step)
    except RequestError as error:
        raise error.located(source.at(("interventions", method, *error.key))) from None


def _check_criterion(name: str, settings: Mapping[str, Any], source: Source) -> None:
    path = ("criteria", name)
    try:
        cls = registry.criterion(name)
        cls.model_validate(settings)
    except RequestError as error:
        raise error.located(source.at((*path, *error.key))) from None
    except ValidationError as error:
        unknown = [str(fault["loc"][0]) for fault in error.errors()[:1] if fault["type"] == "extra_forbidden"]
        hint = nearest(unknown[0], cls.model_fields) if unknown else None
        problem = settings_error(name, error, allowed=", ".join(cls.model_fields) or "no settings", hint=hint)
        raise problem.located(source.at((*path, *problem.key))) from None


def _check_composition(spec: Spec, text: str, at: str) -> Composition:
    try:
        parsed = parse(text)
        for step in parsed.steps:
            registry.intervention(step.method)
            spec.configure(step)
    except RequestError as error:
        raise error.located(at) from None
    return parsed


def _shape_error(error: ValidationError, source: Source) -> RequestError:
    first = error.errors()[0]
    path = [part for part in first["loc"] if isinstance(part, int) or part not in ("str", "dict[str,any]", "[key]")]
    owners: Mapping[str, Any] = {"compose": Compose, "resources": Resources}
    owner = owners.get(str(path[0]) if len(path) > 1 else "", Spec)
    if first["type"] == "extra_forbidden":
        known = list(owner.model_fields)
        key = str(path[-1])
        return RequestError(
            f"unknown key {key!r}", at=source.at(path), allowed=", ".join(known), hint=nearest(key, known)
        )
    if first["type"] == "missing":
        return RequestError(f"{path[-1]} is missing", at=source.at(path[:-1]), hint=f"add `{path[-1]}:`")
    message = first["msg"].removeprefix("Value error, ")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    given = f" = {first['input']!r}" if path and not isinstance(first["input"], dict) else ""
    name = ".".join(map(str, path)) or "spec"
    return RequestError(f"{name}{given}: {message}{more}", at=source.at(path))


def _gamma(method: str, name: str, value: Any) -> float | str | None:
    """A value of γ as a step holds it."""
    if isinstance(value, str):
        return read_strength(value, f"{method}.{name}")
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)):
        return value
    hint = sweep_hint(name, value) if isinstance(value, (list, dict)) else f"rayci methods {method}"
    raise RequestError(f"{method}: {name} = {value!r}: not a number", allowed="a number", hint=hint, key=(name,))


def _is_sweep(value: Any) -> bool:
    return isinstance(value, Mapping) and "sweep" in value
