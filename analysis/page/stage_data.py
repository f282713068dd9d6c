"""Every composition stage by stage as plain data, and which set of methods it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple
from typing import Any

from rayci.analysis.page.compact import Number, number
from rayci.analysis.page.item_flips import Turned
from rayci.analysis.page.stage_rows import StageLine, Value, Walk
from rayci.analysis.scan.asked import Asked
from rayci.analysis.scan.family import Family
from rayci.analysis.scan.variant import Variant, without_strength

Cell = Number | list[Any]


def stage_data(
    lines: Sequence[StageLine],
    walks: Sequence[Walk],
    turned: Sequence[Mapping[str, Turned]],
    families: Sequence[Family],
    criteria: Sequence[str],
) -> dict[str, list[dict[str, Any]]]:
    """`stages`, and `walks`: for each composition its `stages` and `family` by their places, its `order` and γ.

    A stage: `chain`, `depth`, `again` (the re-compression, if it is one), `values` by criterion: a mean, or
    [mean, readings lost, why] where some were; `turned`: place of the criterion -> [right to wrong, wrong to right,
    items], since the untouched model.
    """
    home = _homes(families)
    return {
        "stages": [
            {
                "chain": line.chain,
                "depth": line.stage,
                "again": line.recompression,
                "values": [_cell(line.values.get(criterion)) for criterion in criteria],
                "turned": {criteria.index(name): astuple(flips) for name, flips in flips_of_stage.items()},
            }
            for line, flips_of_stage in zip(lines, turned, strict=True)
        ],
        "walks": [_walk(walk, home(walk.steps), families) for walk in walks],
    }


def _walk(walk: Walk, place: int | None, families: Sequence[Family]) -> dict[str, Any]:
    family = None if place is None else families[place]
    axis = None if family is None else family.axis
    labels = {variant: variant.label for variant in family.pair} if family else {}
    return {
        "name": walk.composition,
        "stages": walk.stages,
        "family": place,
        "order": " > ".join(labels.get(_placed(step, axis), step.variant.method) for step in walk.steps),
        "strength": next((step.strength for step in walk.steps if step.variant == axis), None),
    }


def _cell(value: Value | None) -> Cell:
    if value is None:
        return None
    return [number(value.mean), value.lost, value.statuses] if value.lost else number(value.mean)


def _homes(families: Sequence[Family]) -> Callable[[Iterable[Asked]], int | None]:
    """Asked steps -> place of their family; None for a composition that belongs to none."""
    axes = {_sorted(map(without_strength, family.pair)): family.axis for family in families}
    places = {_sorted(family.pair): place for place, family in enumerate(families)}

    def home(steps: Iterable[Asked]) -> int | None:
        asked = list(steps)
        axis = axes.get(_sorted(step.variant for step in asked))
        return places.get(_sorted(_placed(step, axis) for step in asked))

    return home


def _placed(step: Asked, axis: Variant | None) -> Variant:
    variant = step.variant
    if variant == axis or step.strength is None:
        return variant
    return Variant(variant.kind, variant.method, variant.settings, variant.strength_name, step.strength)


def _sorted(variants: Iterable[Variant]) -> tuple[Variant, ...]:
    return tuple(sorted(variants, key=lambda variant: variant.rank))
