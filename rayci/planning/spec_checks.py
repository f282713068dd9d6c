"""What a spec must keep beside its shape: its parts fit each other, and every step can be configured.

Each check raises RequestError at the line that is to blame.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rayci import registry
from rayci.errors import RequestError, nearest
from rayci.planning.composition import Composition, parse
from rayci.planning.yaml_source import Source

if TYPE_CHECKING:
    from rayci.planning.spec import Spec

MAX_TRIALS = 1_000_000
"""Trials above which a spec is refused: their plan would not fit into memory, and nobody has a century."""


def check_preset(spec: Spec, source: Source) -> None:
    """A preset that no method of the spec has would leave all of them at their defaults, without a word."""
    known = {"published", "testbed"}.union(*(registry.intervention(method).presets for method in spec.interventions))
    if spec.preset is not None and spec.preset not in known:
        raise RequestError(
            f"no method of the spec has a preset {spec.preset!r}",
            at=source.at(("preset",)),
            allowed=", ".join(sorted(known)),
            hint=nearest(spec.preset, known),
        )


def check_groups(spec: Spec, source: Source) -> None:
    """Methods in groups are the spec's own: their settings stand under `interventions`."""
    for key, method in spec.compose.grouped:
        if method not in spec.interventions:
            known = list(spec.interventions)
            raise RequestError(
                f"compose.{key}: {method!r} is not among the interventions",
                at=source.at(("compose", key)),
                allowed=", ".join(known),
                hint=nearest(method, known),
            )


def check_size(spec: Spec, source: Source) -> None:
    """Counts trials, without making one; none and too many are refused."""
    kinds = {method: registry.intervention(method).kind for method in spec.interventions}
    variants = {method: math.prod(map(len, spec.swept(method).values())) for method in kinds}
    trials = spec.compose.count(kinds, variants) * spec.replicates * spec.seeds
    if not trials:
        raise RequestError(
            "compose asks for nothing",
            at=source.at(("compose",)),
            hint="singles: true, pairs of methods that differ, or compositions in `also`",
        )
    largest = max([trials, *variants.values()])
    if largest > MAX_TRIALS:
        raise RequestError(
            f"the spec asks for up to {largest:,} trials",
            at=source.at(("interventions",)),
            allowed=f"{MAX_TRIALS:,}",
            hint="fewer values in `sweep`, or compose: {pairs: none} and the wanted ones in `also`",
        )


def check_variants(spec: Spec, method: str, source: Source) -> None:
    """Every step that the settings of a method give can be configured."""
    try:
        for step in spec.variants(method):
            spec.configure(step)
    except RequestError as error:
        raise error.located(source.at(("interventions", method, *error.key))) from None


def check_read(spec: Spec, method: str, source: Source) -> None:
    """A setting that no step of the method reads is refused; one that some steps leave void is not."""
    named = (step for text in spec.compose.also for step in parse(text).steps if step.method == method)
    void = [spec.void(step) for step in (*spec.variants(method), *named)]
    for key, value in spec.interventions[method].items():
        if all(key in reasons for reasons in void):
            refusal = registry.intervention(method).unread(key, value, void[0][key])
            raise refusal.located(source.at(("interventions", method, key)))


def check_first(text: str, at: str) -> None:
    """What is to start first can be read."""
    try:
        parse(text)
    except RequestError as error:
        raise error.located(at) from None


def check_composition(spec: Spec, text: str, at: str) -> Composition:
    """A composition in text form, every step of which can be configured."""
    try:
        parsed = parse(text)
        for step in parsed.steps:
            registry.intervention(step.method)
            spec.configure(step)
    except RequestError as error:
        raise error.located(at) from None
    return parsed
