"""General utility against average bits: every chain that was run, and the front of those that nothing beats.

Fewer bits and more utility are better. A chain stands on the front where no other has both; the front's chains are
named. Means over edit batches and seeds; colours and signs by the kinds of methods in the chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rayci.analysis.answering.aims import utility_criterion
from rayci.analysis.page.drawing import COLOURS, GREY, better
from rayci.analysis.page.print_style import WIDTH, blank
from rayci.analysis.scan.cells import chosen_criteria, refuse_mixture, scale_of
from rayci.errors import RequestError
from rayci.kinds import Direction, Status
from rayci.table import ResultTable

_SIGNS = "osD^vPX"
"""One more than colours, so that both together tell many apart."""
_BITS = ("avg_bits", "avg_bits_nominal")


@dataclass(frozen=True)
class _Chain:
    name: str
    kinds: str
    bits: float
    utility: float


def pareto(table: ResultTable) -> Any:
    """The figure; RequestError where average bits or general utility were not measured, and for several models."""
    refuse_mixture(table.columns(["model", "recompress"]))
    held = chosen_criteria(table, None)
    utility = utility_criterion({name: scale_of(table, name) for name in held})
    bits = next((name for name in _BITS if name in table.scales), None)
    if utility is None or bits is None:
        raise RequestError(
            "no front without average bits and general utility", hint="measure avg_bits and utility or mmlu"
        )
    scale = scale_of(table, utility)
    sign = 1.0 if scale.direction is Direction.HIGHER else -1.0
    chains = sorted(_chains(table, utility, bits), key=lambda chain: (chain.bits, -sign * chain.utility, chain.name))
    front = list(_front(chains, sign))
    figure = blank(WIDTH, 4.2)
    cell = figure.subplots()
    treated = dict.fromkeys(sorted(chain.kinds for chain in chains if chain.kinds))
    looks = {"": ("black", "*"), **dict(zip(treated, zip(cycle(COLOURS), cycle(_SIGNS), strict=False), strict=False))}
    for kinds, (colour, marker) in looks.items():
        own = [chain for chain in chains if chain.kinds == kinds]
        places = [chain.bits for chain in own], [chain.utility for chain in own]
        cell.scatter(*places, s=16, color=colour, marker=marker, label=kinds or "untouched", alpha=0.8, linewidth=0)
    cell.step([c.bits for c in front], [c.utility for c in front], where="post", color=GREY, linewidth=0.8, zorder=0)
    for chain in front:
        at = (chain.bits, chain.utility)
        cell.annotate(chain.name or "untouched", at, (-3, 4), textcoords="offset points", fontsize=6, ha="right")
    cell.set_xlabel("average bits per weight (fewer is better)")
    cell.set_ylabel(f"{utility} ({better(scale)})")
    if scale.logarithmic:
        cell.set_yscale("log")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def _chains(table: ResultTable, utility: str, bits: str) -> Iterator[_Chain]:
    """Every final composition with a value of both."""
    measured = pc.field("final") & (pc.field("status") == Status.OK.value) & pc.field("criterion").isin([utility, bits])
    rows = table.arrow.filter(measured)
    means = rows.group_by(["composition", "criterion"]).aggregate([("value", "mean")])
    values = {(row["composition"], row["criterion"]): row["value_mean"] for row in means.to_pylist()}
    names = np.asarray(rows.column("composition")).astype(str)
    first_rows = np.unique(names, return_index=True)[1]  # of each composition one row, which has its steps
    for row in rows.take(pa.array(first_rows)).select(["composition", "steps"]).to_pylist():
        name = row["composition"]
        if (name, utility) in values and (name, bits) in values:
            yield _Chain(name, _kinds(row["steps"]), values[name, bits], values[name, utility])


def _kinds(steps: Iterable[Mapping[str, Any]]) -> str:
    return " + ".join(sorted({step["kind"] for step in steps}))


def _front(chains: Iterable[_Chain], sign: float) -> Iterator[_Chain]:
    """Of chains by rising bits, those that are better than all with fewer."""
    best = float("-inf")
    for chain in chains:
        if sign * chain.utility > best:
            best = sign * chain.utility
            yield chain
