"""A method as analysis tells it apart: its name, its settings, and its γ where that is not the axis."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from rayci.kinds import NUMBER_FORMATS, Kind

_KINDS = tuple(Kind)
_COMPRESSORS = {"sparsity": "pruners", "bits": "quantisers"}
_CATEGORIES = {Kind.EDIT: "editors", Kind.COMPRESS: "compressors", Kind.UNLEARN: "unlearners", Kind.TRAIN: "trainers"}
NEVER_KNEW = "retrain"
"""The unlearner whose model never knew what was to be forgotten: exact unlearning, and a line of published tables."""


def never_knew(unlearner: str) -> bool:
    """Whether an unlearner, as a composition names it, is NEVER_KNEW, whatever its settings."""
    return method_of(unlearner) == NEVER_KNEW


def method_of(step: str) -> str:
    """The method of a step in text form: `rtn` of `rtn@4{group_size=64}`."""
    return step.partition("{")[0].partition("@")[0]


@dataclass(frozen=True, slots=True)
class Variant:
    """One method with one set of settings; two settings of a method are two variants."""

    kind: Kind
    method: str
    settings: str
    """Effective settings without γ, as canonical JSON."""
    strength_name: str | None
    strength: float | None = None
    """γ where it is held fixed; None for the swept step and for methods without γ."""
    label: str = field(default="", compare=False)
    """The shortest text that tells the variants of one table apart: `ft`, `awq{group_size=64}`, `ft@25`."""

    @property
    def category(self) -> str:
        """The group it belongs to: editors, pruners, quantisers, other compressors, unlearners, trainers."""
        if self.kind is Kind.COMPRESS:
            return _COMPRESSORS.get(self.strength_name or "", "compressors")
        return _CATEGORIES[self.kind]

    @property
    def number_format(self) -> str | None:
        """The format whose numbers a quantiser rounds to: it decides γ, so there is nothing to sweep."""
        return number_format(self.settings, self.strength_name)

    @property
    def competes(self) -> bool:
        """Whether it is ranked among others: exact unlearning is what unlearners are measured by."""
        return self.method != NEVER_KNEW

    @property
    def rank(self) -> tuple[int, str, str, float]:
        """Sort key: kind (edit, compress, unlearn, train), then name, then settings, then γ."""
        return _KINDS.index(self.kind), self.method, self.settings, -1.0 if self.strength is None else self.strength


@cache
def number_format(settings: str, strength_name: str | None) -> str | None:
    """The number format that settings name, as JSON; None for levels a scale apart, and of what is no quantiser."""
    grid = json.loads(settings or "{}").get("grid") if strength_name == "bits" else None
    return grid if grid in NUMBER_FORMATS else None


@cache
def settings_without(settings: str, strength_name: str | None) -> str:
    """Canonical JSON of the settings with γ taken out."""
    kept = {key: value for key, value in json.loads(settings or "{}").items() if key != strength_name}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def labels(variants: Iterable[Variant], swept: Mapping[Variant, int]) -> dict[Variant, str]:
    """The label of every variant; `swept` counts the values of γ that a variant has in the table.

    A setting is shown only where two variants of the method differ in it, a fixed γ only where
    the table holds several. A quantiser to a number format is a method of its own here, `rtn@nvfp4`.
    """
    by_method: dict[tuple[str, str | None], set[str]] = {}
    known = list(variants)
    for variant in known:
        by_method.setdefault((variant.method, variant.number_format), set()).add(variant.settings)
    labels = {}
    for variant in known:
        text = variant.method if variant.number_format is None else f"{variant.method}@{variant.number_format}"
        if variant.strength is not None and swept.get(without_strength(variant), 0) > 1:
            text += f"@{variant.strength:g}"
        labels[variant] = text + _differing(variant.settings, by_method[variant.method, variant.number_format])
    return labels


def without_strength(variant: Variant) -> Variant:
    """The same method and settings with γ left open."""
    return Variant(variant.kind, variant.method, variant.settings, variant.strength_name)


def with_label(variant: Variant, label: str) -> Variant:
    """The variant carrying its label."""
    return replace(variant, label=label)


def _differing(settings: str, alternatives: set[str]) -> str:
    if len(alternatives) == 1:
        return ""
    own, others = json.loads(settings), [json.loads(other) for other in alternatives]
    keys = sorted({key for other in others for key in other if any(o.get(key) != other[key] for o in others)})
    shown = [f"{key}={_text(own[key])}" for key in keys if own.get(key) is not None]
    return "{" + ",".join(shown) + "}" if shown else ""


def _text(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)
