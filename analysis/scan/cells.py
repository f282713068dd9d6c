"""The final rows of a table in columns: which composition was asked, in which run, with what result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rayci.analysis.scan.asked import Composition, compositions
from rayci.analysis.scan.coded import Coded, coded_integers, coded_texts
from rayci.analysis.statistics.piecewise import Array
from rayci.errors import RequestError, nearest
from rayci.kinds import Direction, Scale
from rayci.table import ResultTable

_FIRST = (
    *("edit_success", "edit_exact_match", "edit_natural_stop", "edit_generalization", "edit_portability"),
    *("edit_locality", "edit_locality_agreement", "wmdp", "wmdp_bio", "wmdp_cyber", "hazard"),
    *("verbmem", "knowmem_forget", "privleak", "knowmem_retain", "mmlu", "utility"),
)
"""The order in which readers of the papers look for criteria; all others follow by name."""


@dataclass(frozen=True)
class FinalCells:
    """The rows at which a composition ends under the sweep's policy; every column is `[rows]`, in the table's order."""

    composition: Coded[Composition]
    criterion: Coded[str]
    replicate: Coded[int]
    seed: Coded[int]
    value: Array
    """NaN where there is none."""
    reason: Coded[str]
    row: NDArray[np.uint32]
    """Where in the table each of them stands."""

    def at(self, rows: NDArray[np.intp]) -> FinalCells:
        """Some of the rows."""
        plain = {name: getattr(self, name)[rows] for name in ("value", "row")}
        coded = {field.name: getattr(self, field.name).at(rows) for field in fields(self) if field.name not in plain}
        return FinalCells(**plain, **coded)

    def untouched(self, criterion: str) -> Array:
        """What was measured of the untouched model."""
        asked = self.criterion.names.index(criterion) if criterion in self.criterion.names else -1
        untouched = self.composition.codes == self.composition.names.index(())
        held = self.value[untouched & (self.criterion.codes == asked)]
        return np.asarray(held[~np.isnan(held)])


def final_cells(table: ResultTable) -> FinalCells:
    """The final rows of a table, each result once.

    Raises RequestError where the table mixes models or re-compression policies: their
    compositions have the same names, and a curve through both would mean nothing.
    """

    # One column at a time: of ten million rows, all texts together would not fit into two gigabytes.
    def column(name: str) -> pl.Series:
        return table.columns(["final", name]).filter("final").select(name).collect()[name]

    refuse_mixture(table.columns(["final", "model", "recompress"]).filter("final"))
    return _distinct(
        FinalCells(
            compositions(table),
            coded_texts(column("criterion")),
            coded_integers(column("replicate")),
            coded_integers(column("seed")),
            column("value").fill_null(np.nan).to_numpy(),
            coded_texts(column("reason")),
            table.columns(["final"]).with_row_index("row").filter("final").collect()["row"].to_numpy(),
        )
    )


def scale_of(table: ResultTable, criterion: str) -> Scale:
    """The scale of a criterion; where a table carries none, its rows' direction and no range."""
    if criterion in table.scales:
        return table.scales[criterion]
    rows = table.columns(["criterion", "direction"]).filter(pl.col("criterion") == criterion)
    return Scale(Direction(rows.first().collect()["direction"][0]))


def chosen_criteria(table: ResultTable, asked: Sequence[str] | None) -> list[str]:
    """Criteria to judge compositions by: those asked for, or all that have a better direction.

    Raises RequestError for a criterion that the table lacks or whose direction is `none`.
    """
    names = table.columns(["criterion"]).unique().collect()["criterion"].cast(pl.String).to_list()
    held = sorted(names, key=_criterion_rank)
    judged = [name for name in held if scale_of(table, name).direction is not Direction.NONE]
    if asked is None:
        return judged
    for name in asked:
        if name not in judged:
            problem = "has no better direction" if name in held else "is not in the table"
            near = nearest(name, judged)
            raise RequestError(f"criterion {name!r} {problem}", allowed=", ".join(judged) or "none", hint=near)
    return list(dict.fromkeys(asked))


def _criterion_rank(name: str) -> tuple[int, str]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)


def _distinct(cells: FinalCells) -> FinalCells:
    """Two sweeps that share a table may both hold a row: once, and RequestError where the two differ."""
    keys = np.zeros(len(cells.value), dtype=np.int64)
    for column in (cells.composition, cells.criterion, cells.replicate, cells.seed):
        keys = keys * (len(column.names) + 1) + column.codes + 1
    in_order = np.sort(keys)
    if not (in_order[1:] == in_order[:-1]).any():
        return cells
    _, first, again = np.unique(keys, return_index=True, return_inverse=True)
    value, other = cells.value, cells.value[first[again]]
    same = ((value == other) | (np.isnan(value) & np.isnan(other))) & (
        cells.reason.codes == cells.reason.codes[first[again]]
    )
    if same.all():
        return cells.at(np.sort(first))
    row = int(np.flatnonzero(~same)[0])
    raise RequestError(
        f"two results of {cells.criterion[row]} for the same composition and replicate",
        at=" > ".join(f"{step.variant.method}@{step.strength}" for step in cells.composition[row] or ()),
        hint="read the folder of one run at a time",
    )


def refuse_mixture(rows: pl.LazyFrame) -> None:
    """RequestError where rows are of several models or re-compression policies: equal names would not be equal."""
    distinct = rows.select("model", "recompress").unique().collect()
    choose = "choose one with --model, in Python load(…).of_model(name); load(…).metrics() tells all of them apart"
    for column, noun, hint in (
        ("model", "models", choose),
        ("recompress", "re-compression policies", "read the folder of one run at a time"),
    ):
        held = sorted(distinct[column].unique().cast(pl.String).to_list())
        if len(held) > 1:
            raise RequestError(
                f"the table holds {len(held)} {noun}",
                allowed=", ".join(held),
                hint=hint,
            )
