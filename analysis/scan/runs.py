"""From rows to arrays: one criterion of one set of methods as replicates × seeds × orders × γ, all sets at once.

A row without a replicate (or seed) stands for every replicate (or seed) that its set of methods and criterion have.
Where two rows claim a place, the later one has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rayci.analysis.scan.cells import FinalCells
from rayci.analysis.scan.coded import Coded, Codes
from rayci.analysis.statistics.piecewise import Array, Kept

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Runs:
    """Everything measured of one set of methods and one criterion."""

    values: Array
    """`[replicates, seeds, orders, points]`; NaN where there is no value."""
    rows: NDArray[np.int32]
    """The row of each value, or of the failure that took its place; −1 where there is none."""
    replicates: tuple[int | None, ...]
    """Edit batches; one None where no row has one."""
    seeds: tuple[int | None, ...]
    reason: Coded[str]
    """Of every row."""
    places: NDArray[np.uint32]
    """Of every row where in the table it stands."""

    @property
    def ran(self) -> Kept:
        """`[replicates, seeds]`: which runs have a row at all."""
        return np.asarray((self.rows >= 0).any(axis=(2, 3)))


@dataclass(frozen=True)
class Places:
    """Where in the arrays of its set of methods (its family) each composition stands."""

    family: Codes
    """`[compositions]`; the last for the untouched model, which is a family of its own."""
    order: Codes
    point: Codes
    shape: Integers
    """`[families, 2]`: how many orders and points."""


def pivoted(cells: FinalCells, places: Places) -> list[dict[str, Runs]]:
    """For each family: criterion -> what was measured of it."""
    composition, criteria = cells.composition.codes, max(len(cells.criterion.names), 1)
    known, cell = _numbered(places.family[composition] * np.int32(criteria) + cells.criterion.codes)
    replicate, batches = _ranked(cell, len(known), cells.replicate)
    seed, draws = _ranked(cell, len(known), cells.seed)
    counts = [np.maximum(held.sum(axis=1), 1) for held in (batches, draws)]
    shapes = np.column_stack([*counts, places.shape[known // criteria]])
    taken = _taken(shapes, cell, (replicate, seed, places.order[composition], places.point[composition]))
    values = np.append(cells.value, np.nan)[taken]  # the row −1 is none
    ends = shapes.prod(axis=1).cumsum()
    by_family: list[dict[str, Runs]] = [{} for _ in places.shape]
    units = zip(_names(cells.replicate, batches), _names(cells.seed, draws), strict=True)
    for code, shape, end, (replicates, seeds) in zip(known, shapes, ends, units, strict=True):
        lies = slice(end - shape.prod(), end)
        runs = Runs(values[lies].reshape(shape), taken[lies].reshape(shape), replicates, seeds, cells.reason, cells.row)
        by_family[code // criteria][cells.criterion.names[code % criteria]] = runs
    return by_family


def _taken(shapes: Integers, cell: Codes, index: tuple[Codes, Codes, Codes, Codes]) -> Codes:
    """The row that has each place of the arrays of all cells, laid one after the other; −1 where none has.

    `shapes[cells, 4]`; `cell[rows]`, and the `index[rows]` in its array along each axis.
    """
    replicate, seed, order, point = index
    rows = np.arange(len(cell), dtype=np.int32)
    if (replicate < 0).any() or (seed < 0).any():
        rows, replicate = _spread(replicate, shapes[cell, 0])
        again, seed = _spread(seed[rows], shapes[cell[rows], 1])
        rows, replicate = rows[again], replicate[again]
    sizes = shapes.prod(axis=1)
    there = replicate.astype(np.int64)
    for axis, inner in ((1, seed), (2, order[rows]), (3, point[rows])):
        there *= shapes[cell[rows], axis]
        there += inner
    there += (sizes.cumsum() - sizes)[cell[rows]]
    taken = np.full(sizes.sum(), -1, dtype=np.int32)
    taken[there] = rows  # of equal places the last row stays
    return taken


def _spread(rank: Codes, size: Integers) -> tuple[Codes, Codes]:
    """Rows, those without a rank (−1) once for each of the `size` there are; and the rank of each of these."""
    own = rank >= 0
    counts = np.where(own, 1, size)
    rows = np.repeat(np.arange(len(rank), dtype=np.int32), counts)
    step = np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts)
    return rows, np.where(own[rows], rank[rows], step).astype(np.int32)


def _numbered(codes: Codes) -> tuple[Integers, Codes]:
    """The distinct codes, rising, and the place of each row's among them."""
    there = np.zeros(codes.max(initial=-1) + 1, dtype=bool)
    there[codes] = True
    return np.flatnonzero(there), (there.cumsum(dtype=np.int32) - 1)[codes]


def _ranked(cell: Codes, cells: int, column: Coded[int]) -> tuple[Codes, Kept]:
    """The place of each row's value among those of its cell, −1 for none; and `[cells, values]` which those are."""
    held = np.zeros((cells, len(column.names)), dtype=bool)
    if not column.names:
        return np.zeros(len(cell), dtype=np.int32), held
    known = column.codes >= 0
    held[cell[known], column.codes[known]] = True
    ranks = (held.cumsum(axis=1, dtype=np.int32) - 1)[cell, column.codes]
    ranks[~known] = -1
    return ranks, held


def _names(column: Coded[int], held: Kept) -> list[tuple[int | None, ...]]:
    """Of each cell the values that it holds; most cells hold the same ones."""
    distinct, which = np.unique(held, axis=0, return_inverse=True)
    named = [tuple(column.names[code] for code in np.flatnonzero(row)) or (None,) for row in distinct]
    return [named[place] for place in which]
