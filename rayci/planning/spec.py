"""A sweep as a user writes it: YAML to a validated, frozen Spec."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from rayci import registry
from rayci.criterion import Criterion
from rayci.data.data_presets import Pair, preset_of
from rayci.data.records import PARTS, STANDS_IN
from rayci.errors import RequestError, nearest
from rayci.intervention import Intervention
from rayci.kinds import Recompress
from rayci.planning import yaml_source
from rayci.planning.compose import Compose
from rayci.planning.composition import Composition, Step, parse
from rayci.planning.named_criteria import configured, names_of
from rayci.planning.resources import Resources
from rayci.planning.spec_checks import (
    check_composition,
    check_first,
    check_groups,
    check_preset,
    check_read,
    check_size,
    check_variants,
)
from rayci.planning.spec_values import check_criterion, check_places, check_sweeps, is_sweep, shape_error, strength_of
from rayci.planning.yaml_source import Source
from rayci.settings import Strict


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
    """Criterion -> settings; a plain list of names is enough. Settings in a name, `edit_success{batch=9}`, measure a
    criterion once more with them."""
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
        if not isinstance(value, (list, dict)):
            return value
        merged: dict[Any, Any] = {}
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, (str, dict)):
                raise ValueError(f"{item!r} is not the name of a criterion")
            entry = item if isinstance(item, dict) else {item: {}}
            for text, settings in entry.items():
                for name in _criteria_of(text):
                    if name in merged:
                        raise ValueError(f"{name!r} is listed twice")
                    merged[name] = {} if settings is None else settings
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
        return {key: value["sweep"] for key, value in self.interventions[method].items() if is_sweep(value)}

    def variants(self, method: str) -> list[Step]:
        """One step for each combination of the method's swept settings that differs from the others in what is read."""
        swept = self.swept(method)
        strength = registry.intervention(method).strength
        steps = []
        for values in itertools.product(*swept.values()):
            chosen = dict(zip(swept, values, strict=True))
            gamma = None
            if strength is not None:
                gamma = chosen.pop(strength.name, self.interventions[method].get(strength.name))
                gamma = strength_of(method, strength.name, gamma)
            void = self.void(Step(method, gamma, chosen))
            steps.append(Step(method, gamma, {key: value for key, value in chosen.items() if key not in void}))
        return list(dict.fromkeys(steps))

    def configure(self, step: Step) -> Intervention:
        """The intervention of a step: preset, then the spec's settings, then the step's own."""
        cls = registry.intervention(step.method)
        return cls.configure(self.effective_preset, step.strength, {**self.constants(step), **step.settings})

    def constants(self, step: Step) -> dict[str, Any]:
        """The settings that the spec gives to every step of a method, but for those that this one leaves unread."""
        void = self.void(step)
        return {key: value for key, value in self._constants(step).items() if key not in void}

    def _constants(self, step: Step) -> dict[str, Any]:
        """Those of every step, but for what this one's strength says."""
        by_strength = registry.intervention(step.method).from_strength(step.strength)
        return {
            key: value
            for key, value in self.interventions.get(step.method, {}).items()
            if not is_sweep(value) and key not in by_strength
        }

    def void(self, step: Step) -> Mapping[str, str]:
        """Settings that the others of a step leave without effect, each with the reason: `lora_rank` where the weights
        themselves are trained. Other steps of the method may read them."""
        given = {**self._constants(step), **step.settings}
        return registry.intervention(step.method).assembled(self.effective_preset, step.strength, given).void_settings()

    def measured(self) -> list[Criterion]:
        """The criteria, configured, in the order of the spec."""
        return [configured(name, settings) for name, settings in self.criteria.items()]

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


def _criteria_of(text: Any) -> list[Any]:
    """The criteria that a key names; ValueError, as validators raise it, where it cannot be read."""
    try:
        return names_of(text) if isinstance(text, str) else [text]
    except RequestError as error:
        raise ValueError(error.problem) from None


def load(path: Path | str) -> Spec:
    """Read and check a spec file; RequestError names file, line and key."""
    return from_source(yaml_source.read(Path(path)))


def from_source(source: Source) -> Spec:
    """Check parsed YAML: first its shape, then every method, setting and criterion."""
    try:
        spec = Spec.model_validate({"name": default_name(source.name), **source.values})
    except ValidationError as error:
        raise shape_error(error, {"": Spec, "compose": Compose, "resources": Resources}, source) from None
    check_places(spec.model, spec.data, source)
    for method, settings in spec.interventions.items():
        check_sweeps(method, settings, source)
    check_preset(spec, source)
    check_groups(spec, source)
    check_size(spec, source)
    for method in spec.interventions:
        check_variants(spec, method, source)
    for name, settings in spec.criteria.items():
        check_criterion(name, settings, source)
    for index, text in enumerate(spec.compose.also):
        check_composition(spec, text, source.at(("compose", "also", index)))
    for method in spec.interventions:
        check_read(spec, method, source)
    for index, text in enumerate(spec.compose.first):
        check_first(text, source.at(("compose", "first", index)))
    return spec


def default_name(file: str) -> str:
    """The name of a spec that does not give one: the file's, with what a folder's name should not hold replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(file).stem).lstrip("-_.") or "sweep"


def composition(spec: Spec, text: str, at: str | None = None) -> Composition:
    """A composition in text form, checked against the spec's methods and settings."""
    return check_composition(spec, text, at or "composition")
