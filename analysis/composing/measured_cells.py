"""The cells of the composability table, sets of methods by criteria, to numbers: all cells of one shape at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rayci.analysis.composing.cell_columns import CellColumns
from rayci.analysis.composing.family_reading import FamilyReading, Reading
from rayci.analysis.composing.lost_reasons import reasons
from rayci.analysis.scan.samples import Samples, samples
from rayci.analysis.statistics.lost_points import bounds
from rayci.analysis.statistics.piecewise import Array, Kept
from rayci.analysis.statistics.scoring import BOTH_INFINITE, NO_AREA, NO_TOP, Reach, scores
from rayci.analysis.statistics.verdicts import margin_of
from rayci.kinds import Direction, Scale

_AT_ONCE = 2**18
"""Values that are measured together: what fits the caches is fastest."""
Cells = NDArray[np.intp]


@dataclass(frozen=True)
class Cell:
    """One set of methods and one criterion that were measured."""

    place: int
    """In the table."""
    where: FamilyReading
    criterion: str
    held: Samples


def measure(
    asked: Sequence[tuple[FamilyReading, str]], scales: Mapping[str, Scale], reading: Reading, size: int
) -> CellColumns:
    """Every cell that is asked for, of `size` methods; where there is no number, the reasons say why."""
    columns = CellColumns.of(asked, scales, reading, size)
    alike: dict[tuple[Scale, tuple[int, ...]], list[Cell]] = {}
    for place, (where, criterion) in enumerate(asked):
        held = samples(where.family, criterion)
        if where.problem or not len(held.values):
            columns.reasons[place].append(where.problem or f"{criterion} was not measured")
            continue
        held = held if len(where.points) == len(held.grid) else held.only(where.points)
        alike.setdefault((scales[criterion], held.values.shape), []).append(Cell(place, where, criterion, held))
    for (scale, shape), cells in alike.items():
        step = max(1, _AT_ONCE // int(np.prod(shape)))
        for start in range(0, len(cells), step):
            _Batch.of(cells[start : start + step], scale, reading).fill(columns)
    return columns


@dataclass(frozen=True)
class _Batch:
    """Cells of one shape on one scale."""

    cells: Sequence[Cell]
    rows: Cells
    """Their places in the table."""
    values: Array
    """`[cells, units, orders, points]`; NaN where there is no value."""
    x: Array
    """`[cells, points]`; NaN where there is no place."""
    within: Array | None
    """`[cells, bounds, points]`"""
    scale: Scale
    logarithm: bool
    reading: Reading

    @staticmethod
    def of(cells: Sequence[Cell], scale: Scale, reading: Reading) -> _Batch:
        values, logarithm = np.stack([cell.held.values for cell in cells]), scale.logarithmic and reading.place.is_area
        if logarithm:
            with np.errstate(divide="ignore"):
                values, scale = np.log(values), _logarithm(scale)
        leeways = [cell.where.leeway.margins for cell in cells if cell.where.leeway]
        return _Batch(
            cells,
            np.array([cell.place for cell in cells]),
            values,
            np.stack([cell.where.x for cell in cells]),
            np.stack(leeways) if leeways else None,
            scale,
            logarithm,
            reading,
        )

    def fill(self, columns: CellColumns) -> None:
        """Measure, and write what was measured to its rows."""
        present = ~np.isnan(self.values).any(axis=(1, 2))
        asked = np.array([cell.held.asked for cell in self.cells])
        columns.evidence.n_lost[self.rows] = np.where(asked, (~present).sum(axis=1), 0)
        columns.evidence.margin[self.rows] = margin_of(self.scale, self.reading.margin, logarithm=self.logarithm)
        if self.logarithm:
            for cell in self.cells:
                columns.texts["unit"][cell.place] = f"ln {cell.criterion}"
        self._bound(columns)
        placed = present & ~np.isnan(self.x)
        inside = placed if self.within is None else placed & (self.within >= 0).all(axis=1)
        for cell, there, left in zip(self.cells, placed, inside, strict=True):
            columns.reasons[cell.place] += reasons(cell.where, cell.held, there & ~left)
        for cells, points, bounded in self._supports(placed, inside):
            self._score(cells, points, inside, columns, bounded=bounded)

    def _bound(self, columns: CellColumns) -> None:
        """Where points were lost and every order ran; under a bound on γ or without a place bounds are not told."""
        if self.within is not None or self.scale.low is None or self.scale.high is None:
            return
        holes = np.isnan(self.values)
        ran = np.asarray((~holes).any(axis=(1, 3))).all(axis=1)
        cells = np.flatnonzero(holes.any(axis=(1, 2, 3)) & ran & ~np.isnan(self.x).any(axis=1))
        if len(cells):
            reach = Reach(self.x[cells], rescale=self.reading.rescale)
            columns.write_bounds(self.rows[cells], bounds(self.values[cells], self.scale, reach))

    def _supports(self, placed: Kept, inside: Kept) -> Iterator[tuple[Cells, Cells, bool]]:
        """Cells of which equally many points count, these points `[cells, points]` by rising place, and whether what
        lies between them is bounded: where only single points are inside, the first of them is read.
        """
        order = np.argsort(np.where(placed, self.x, np.inf), axis=1, kind="stable")
        counts = placed.sum(axis=1)
        for count in np.unique(counts[inside.any(axis=1)]):
            cells = np.flatnonzero((counts == count) & inside.any(axis=1))
            points = order[cells, :count]
            if self.within is None:
                yield cells, points, False
                continue
            alone = np.isnan(self._reach(cells, points, bounded=True).pieces().weights).all(axis=(1, 2))
            first = np.take_along_axis(inside[cells], points, axis=1).argmax(axis=1)
            if not alone.all():
                yield cells[~alone], points[~alone], True
            if alone.any():
                yield cells[alone], np.take_along_axis(points, first[:, None], axis=1)[alone], False

    def _reach(self, cells: Cells, points: Cells, *, bounded: bool) -> Reach:
        within = None
        if bounded and self.within is not None:
            within = np.take_along_axis(self.within[cells], points[:, None], axis=-1)
        return Reach(self.x[cells[:, None], points], within, self.reading.rescale)

    def _score(self, cells: Cells, points: Cells, inside: Kept, columns: CellColumns, *, bounded: bool) -> None:
        reach = self._reach(cells, points, bounded=bounded)
        values = np.take_along_axis(self.values[cells], points[:, None, None], axis=-1)
        scored = scores(values, self.scale, reach)
        some = [self.cells[cell] for cell in cells]
        gammas = np.stack([cell.where.gammas for cell in some])
        columns.write_scores(self.rows[cells], scored)
        if values.shape[1] == 1:
            self._pair_items(cells, points, values[:, 0], reach, columns)
        counted = np.take_along_axis(inside[cells], points, axis=1).sum(axis=1)
        units = [cell.held.units for cell in some]
        columns.write_support(
            self.rows[cells], reach, np.take_along_axis(gammas, points, axis=1), counted, units, self.values.shape[1]
        )
        for cell, finite in zip(some, scored.sensitivity_points, strict=True):
            if self.scale.direction is Direction.HIGHER and self.scale.high is None:
                columns.reasons[cell.place].append(NO_TOP)
            if finite < points.shape[1]:
                columns.reasons[cell.place].append(BOTH_INFINITE)
            if points.shape[1] == 1 and not self.reading.rescale:
                columns.reasons[cell.place].append(NO_AREA)

    def _pair_items(self, cells: Cells, points: Cells, values: Array, reach: Reach, columns: CellColumns) -> None:
        """Where orders were measured once, `values[cells, orders, points]`, items tell of them if they can."""
        for number, cell in enumerate(cells):
            where, runs = self.cells[cell].where, self.cells[cell].where.family.runs[self.cells[cell].criterion]
            on_grid = [where.points[point] for point in points[number]]
            told = self.reading.items.scores(runs, on_grid, values[number], reach.of_cell(number), self.scale)
            if told is not None:
                columns.write_item_scores(int(self.rows[cell]), told)


def _logarithm(scale: Scale) -> Scale:
    low = None if scale.low is None or scale.low <= 0 else float(np.log(scale.low))
    return Scale(scale.direction, low, None, None, scale.unit)
