"""Columns as integers: each value once, and where it stands in every row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

Name = TypeVar("Name")
Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Coded(Generic[Name]):
    """A column as places among its distinct values."""

    names: tuple[Name, ...]
    codes: Codes
    """`[rows]`; −1 where the row has none."""

    def __getitem__(self, row: int) -> Name | None:
        code = self.codes[row]
        return None if code < 0 else self.names[code]

    def at(self, rows: NDArray[np.intp]) -> Coded[Name]:
        """The same at some rows."""
        return Coded(self.names, self.codes[rows])


def coded_texts(column: pl.Series) -> Coded[str]:
    """A column of texts, its distinct values sorted."""
    names = sorted(column.drop_nulls().unique().cast(pl.String).to_list())
    places = column.cast(pl.Enum(names)).to_physical().cast(pl.Int32).fill_null(-1)
    return Coded(tuple(names), places.to_numpy())


def coded_integers(column: pl.Series) -> Coded[int]:
    """A column of integers, its distinct values sorted."""
    names = column.drop_nulls().unique().sort()
    if names.is_empty():
        return Coded((), np.full(len(column), -1, dtype=np.int32))
    places = np.searchsorted(names.to_numpy(), column.fill_null(names[0]).to_numpy()).astype(np.int32)
    places[column.is_null().to_numpy()] = -1
    return Coded(tuple(names.to_list()), places)
