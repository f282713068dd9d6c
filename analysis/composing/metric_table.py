"""The composability table: one row per criterion and unordered set of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rayci.analysis.composing.bounded import bounds
from rayci.analysis.composing.cell_columns import BOUNDS, COUNTS, FURTHER, GAP, NUMBERS, SPREADS, TEXTS, value_columns
from rayci.analysis.composing.family_reading import Reading, read_family
from rayci.analysis.composing.fixed_range import checked
from rayci.analysis.composing.item_readings import ItemReadings
from rayci.analysis.composing.measured_cells import measure
from rayci.analysis.scan.cells import chosen_criteria, final_cells, scale_of
from rayci.analysis.scan.family import Family, families
from rayci.analysis.scan.reading_point import At, check_axis, place
from rayci.analysis.statistics.verdicts import MARGIN
from rayci.errors import RequestError
from rayci.kinds import Scale
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

METHODS = ("method_i", "method_j", "method_k", "method_l")
COLUMNS = (
    "criterion", "method_i", "method_j", "strength",
    "order_free_error", "order_sensitivity", "n_points", "n_replicates",
)  # fmt: skip
"""The first columns of every composability table of pairs, in this order."""
_SHOWN = ("gap_p", "gap_p_adjusted", "verdict")
_ABOUT = (
    "best_order", "worst_order", "interval_of", "points_asked", "sensitivity_points", "kept_low", "kept_high", "unit",
)  # fmt: skip


def metrics(
    table: ResultTable,
    at: At = "area",
    axis: str = "scaled",
    criteria: Sequence[str] | None = None,
    along: str | None = None,
    size: int = 2,
    within: Mapping[str, float] | None = None,
    margin: float = MARGIN,
    over: Mapping[str, tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """Order-free error and order sensitivity of every set of `size` methods that the table composes.

    `at`: `area` (integral over γ), `middle` (of the γ swept of each method), `published` (γ .25 for sparsity, 4 for
    bits), a γ, γ by strength or method name, or these as text (`sparsity=0.25,bits=4`). `axis` of the area: `scaled`
    (γ rescaled to [0, 1], the value stays in the criterion's unit), `gamma` (criterion × γ) or `avg_bits` (criterion ×
    bits). `along`: the method whose γ is the axis where several are swept; otherwise the compressor's. `within`: the
    bounded form, criterion -> decay from the untouched model in the criterion's unit; other γ do not count. `margin`:
    share of a criterion's range within which two orders count as equal. `over`: the range of areas, γ from and to by
    strength or method name, for every set of methods that is swept over all of it.

    Columns: COLUMNS first, then 95 % intervals and standard errors over `interval_of` (edit batches, or seeds; for the
    gap of what was measured once the `items` that every order answered), bounds where points were lost, the criterion
    after every order (`value_ij`: i, then j), the signed `gap` of two orders with interval, p (of more orders: that all
    are equal), p adjusted over the table and `verdict` (`matters`, `does_not_matter`, `not_shown`, `undecided`),
    `best_order`, `worst_order`, `points_asked`, `kept_low`, `kept_high` (the γ that count), `unit` (areas of criteria
    that span decades are those of their logarithm), kinds, categories, `direction`, `reason`. Metrics are those of the
    mean curves over units, on the γ that every order has in every unit; a missing number is null and `reason` says why.
    Raises RequestError for unknown criteria, axes, names and for `size` outside 2 … 4.
    """
    if size not in range(2, len(METHODS) + 1):
        raise RequestError(f"sets of {size} methods", allowed=f"2 to {len(METHODS)}")
    names = chosen_criteria(table, criteria)
    cells = final_cells(table)
    composing = [family for family in families(cells, along) if _composes(family, size)]
    scales = {name: scale_of(table, name) for name in chosen_criteria(table, None)}
    bounded = bounds(within, scales, cells) if within else None
    where = place(at, composing)
    if over and not where.is_area:
        raise RequestError(f"a range of γ at {at}", allowed="ranges are of areas", hint="at area")
    ranges = checked(over, composing) if over else None
    reading = Reading(where, check_axis(axis), bounded, margin, ItemReadings(table), ranges)
    return _frame(composing, names, scales, reading, size)


def _frame(
    composing: Sequence[Family], names: Sequence[str], scales: Mapping[str, Scale], reading: Reading, size: int
) -> pd.DataFrame:
    """A row for each of these criteria and sets of methods."""
    import pandas as pd

    read = [read_family(family, reading) for family in composing]
    columns = measure([(where, name) for name in names for where in read], scales, reading, size)
    about = {
        "criterion": [name for name in names for _ in composing],
        "direction": [str(scales[name].direction) for name in names for _ in composing],
        **{name: texts * len(names) for name, texts in _methods(composing, size).items()},
    }
    return _typed(pd.DataFrame({**about, **columns.shown()}, columns=_columns(size)))


def _composes(family: Family, size: int) -> bool:
    """Whether the methods can be put into more than one order."""
    return len(family.pair) == size and len(set(family.pair)) > 1


def _methods(composing: Sequence[Family], size: int) -> dict[str, list[str]]:
    """What is said of the methods of every set, by column."""
    columns = {}
    for index, name in enumerate(METHODS[:size]):
        variants = [family.pair[index] for family in composing]
        columns[name] = [variant.label for variant in variants]
        columns[f"kind_{name[-1]}"] = [str(variant.kind) for variant in variants]
        columns[f"category_{name[-1]}"] = [variant.category for variant in variants]
    return columns


def _columns(size: int) -> list[str]:
    methods = METHODS[:size]
    about = [f"{part}_{method[-1]}" for part in ("kind", "category") for method in methods]
    of_two = GAP if size == 2 else ()
    return [
        "criterion", *methods, *COLUMNS[3:], *SPREADS, *BOUNDS, *FURTHER, *value_columns(size), *of_two, *_SHOWN,
        *_ABOUT, *about, "direction", "reason",
    ]  # fmt: skip


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Types with a real null: an empty column must not turn into NaN or objects."""
    numbers = [*NUMBERS, "gap_p_adjusted", *(name for name in frame.columns if name.startswith("value_"))]
    texts = ("criterion", *TEXTS, "verdict", "reason")
    types = {**dict.fromkeys(numbers, "Float64"), **dict.fromkeys(COUNTS, "Int64"), **dict.fromkeys(texts, "string")}
    return frame.astype({name: kind for name, kind in types.items() if name in frame.columns})
