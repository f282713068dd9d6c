"""The curves of every set of methods as plain data: what the report's scripts draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rayci.analysis.page.compact import Texts, numbers
from rayci.analysis.scan.curve import ABSENT
from rayci.analysis.scan.family import Family
from rayci.analysis.scan.samples import Gap, Samples, samples
from rayci.analysis.scan.variant import Variant, without_strength
from rayci.analysis.statistics.intervals import LEAST_UNITS, summarise
from rayci.analysis.statistics.piecewise import Array

Ends = Mapping[tuple[str, float | None, str], tuple[float, float]]
"""Order, γ and criterion -> ends of the interval over items, of what was measured once."""


def set_name(family: Family) -> str:
    """`ft × wanda`, whatever the order."""
    return " × ".join(variant.label for variant in family.pair)


def curve_data(
    families: Sequence[Family], criteria: Sequence[str], over_items: Ends, reasons: Texts
) -> list[dict[str, Any]]:
    """Every set of methods, those of one method as well: they are the references of the others.

    `name`, `methods`, `axis` ([name of γ, method], or None), `grid`, `orders` (those that were asked for), `unasked`
    (how many orders were not), `curves` (place of the criterion -> values of every order, see `_curve`).
    """
    alone = {without_strength(f.pair[0]): place for place, f in enumerate(families) if len(f.pair) == 1}
    return [_family(family, criteria, alone, over_items, reasons) for family in families]


def _family(
    family: Family, criteria: Sequence[str], alone: Mapping[Variant, int], over_items: Ends, reasons: Texts
) -> dict[str, Any]:
    measured = {place: samples(family, criterion) for place, criterion in enumerate(criteria)}
    measured = {place: held for place, held in measured.items() if len(held.values)}
    orders = next((held.orders for held in measured.values()), ())
    asked = [index for index in range(len(orders)) if any(_ran(held, index) for held in measured.values())]
    return {
        "name": set_name(family),
        "methods": [_method(variant, alone) for variant in family.pair],
        "axis": family.axis and [family.axis.strength_name, family.axis.label],
        "grid": list(family.grid),
        "orders": [_text(orders[index]) for index in asked],
        "unasked": len(orders) - len(asked),
        "curves": {
            place: _curve(held, asked, reasons) | _item_ends(held, asked, criteria[place], over_items)
            for place, held in measured.items()
        },
    }


def _method(variant: Variant, alone: Mapping[Variant, int]) -> dict[str, Any]:
    return {
        "label": variant.label,
        "method": variant.method,
        "kind": variant.kind,
        "alone": alone.get(without_strength(variant)),
        "strength": variant.strength,
    }


def _curve(held: Samples, asked: Sequence[int], reasons: Texts) -> dict[str, Any]:
    """`mean` by order and γ over `n` units (`of` batches or seeds); `low` and `high` from two units on.

    From three units they are the ends of the 95 % interval of the mean (Student-t), of two the values themselves.
    `lost`: [place of the order, place of the γ or None for all, place of the reason, in how many of `runs`].
    """
    curve: dict[str, Any] = {"n": len(held.values), "of": held.units, "runs": held.runs}
    spread = [[_spread(held.values[:, order, point]) for point in range(len(held.grid))] for order in asked]
    for index, name in enumerate(("mean", "low", "high") if len(held.values) > 1 else ("mean",)):
        curve[name] = [numbers(point[index] for point in line) for line in spread]
    texts = {_text(held.orders[order]): place for place, order in enumerate(asked)}
    curve["lost"] = [
        [texts[gap.order], _place(held, gap.strength), reasons.place(gap.reason), count]
        for gap, count in held.gaps.items()
        if gap.order in texts
    ]
    return curve


def _item_ends(held: Samples, asked: Sequence[int], criterion: str, over_items: Ends) -> dict[str, Any]:
    """Of a single measurement: `low` and `high` of the 95 % interval over its items, and that they are (`items`)."""
    if len(held.values) > 1:
        return {}
    names = [_text(held.orders[order]) for order in asked]
    ends = [[over_items.get((name, gamma, criterion), (None, None)) for gamma in held.grid] for name in names]
    if all(low is None for line in ends for low, _ in line):
        return {}
    low, high = ([numbers(point[end] for point in line) for line in ends] for end in (0, 1))
    return {"low": low, "high": high, "items": True}


def _spread(values: Array) -> tuple[float | None, float | None, float | None]:
    """Mean of the units that have a value, and what is shown around it."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None, None, None
    summary = summarise(known.tolist())
    if len(values) < LEAST_UNITS and np.isfinite(known).all():
        return summary.mean, float(known.min()), float(known.max())
    return summary.mean, summary.low, summary.high


def _ran(held: Samples, order: int) -> bool:
    return held.gaps.get(Gap(_text(held.orders[order]), None, ABSENT), 0) < held.runs


def _place(held: Samples, strength: float | None) -> int | None:
    return held.grid.index(strength) if strength in held.grid else None


def _text(order: Iterable[Variant]) -> str:
    return " > ".join(variant.label for variant in order)
