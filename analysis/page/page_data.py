"""The data that the report's scripts draw: criteria, curves, cells and stages, with what they refer to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rayci.analysis.answering.chains import chains
from rayci.analysis.page.cell_data import cell_data
from rayci.analysis.page.compact import Texts, numbers
from rayci.analysis.page.curve_data import Ends, curve_data
from rayci.analysis.page.drawing import better
from rayci.analysis.page.item_flips import item_flips
from rayci.analysis.page.stage_data import stage_data
from rayci.analysis.page.stage_rows import stage_lines
from rayci.analysis.scan.cells import scale_of
from rayci.analysis.scan.family import Family
from rayci.kinds import Scale
from rayci.table import ResultTable


def page_data(
    table: ResultTable, held: Sequence[Family], records: Sequence[Mapping[str, Any]], scales: Mapping[str, Scale]
) -> dict[str, Any]:
    """`criteria`, of which the first `judged` have a better direction; `families` with their curves, `cells`, `stages`
    and `walks` (see the functions that make them), and `reasons`, to which they refer by place.
    """
    judged, reasons = list(scales), Texts()
    others = sorted(set(table.arrow.column("criterion").unique().to_pylist()) - set(judged))
    lines, walks = stage_lines(table)
    stages = stage_data(lines, walks, item_flips(table, lines), held, [*judged, *others])
    every = {name: scale_of(table, name) for name in [*judged, *others]}
    return {
        "criteria": [_criterion(name, scale) for name, scale in every.items()],
        "judged": len(judged),
        "families": curve_data(held, judged, _over_items(table, stages["walks"]), reasons),
        "cells": cell_data(records, judged, scales, reasons),
        **stages,
        "reasons": reasons.held,
    }


def _over_items(table: ResultTable, walks: Sequence[Mapping[str, Any]]) -> Ends:
    """Intervals over items of what was measured once."""
    endings = {chain.composition: chain.endings for chain in chains(table)}
    return {
        (walk["order"], walk["strength"], criterion): (ending.summary.low, ending.summary.high)
        for walk in walks
        for criterion, ending in endings.get(walk["name"], {}).items()
        if len(ending.by_unit) == 1 and ending.summary.low is not None and ending.summary.high is not None
    }


def _criterion(name: str, scale: Scale) -> dict[str, Any]:
    return {
        "name": name,
        "direction": scale.direction,
        "better": better(scale),
        "range": numbers([scale.low, scale.high]),
        "chance": scale.chance,
        "unit": scale.unit,
    }
