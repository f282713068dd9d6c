"""Every composition stage by stage as plain data, and which set of methods it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rayci.analysis.page.compact import Number, number
from rayci.analysis.page.stage_rows import StageLine, Value, Walk
from rayci.analysis.scan.asked import Asked
from rayci.analysis.scan.family import Family
from rayci.analysis.scan.variant import Variant, without_strength

Cell = Number | list[Any]


def stage_data(
    lines: Sequence[StageLine], walks: Sequence[Walk], families: Sequence[Family], criteria: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """`stages` and, for each composition, its `walk`: `stages` by their places, and its `family` by its place.

    A stage: `chain`, `depth`, `again` (the re-compression, if it is one), `values` by criterion: a mean, or
    [mean, readings lost, why] where some were.
    """
    home = _homes(families)
    return {
        "stages": [
            {
                "chain": line.chain,
                "depth": line.stage,
                "again": line.recompression,
                "values": [_cell(line.values.get(criterion)) for criterion in criteria],
            }
            for line in lines
        ],
        "walks": [{"name": walk.composition, "stages": walk.stages, "family": home(walk.steps)} for walk in walks],
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
