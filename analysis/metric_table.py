"""The composability table: one row per criterion and unordered pair of methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rayci.analysis.bounded import Bounds, Unit, bounds
from rayci.analysis.cells import chosen_criteria, final_cells, scale_of
from rayci.analysis.composability import best
from rayci.analysis.curve import Curve, Family, Order, families, family_curves, orders_of
from rayci.analysis.intervals import Summary, summarise
from rayci.analysis.reading_point import At, Place, check_axis, place, same
from rayci.analysis.scoring import Gap, Score, Xs, score
from rayci.analysis.variant import Variant
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
NUMBERS = (
    "strength", "order_free_error", "order_sensitivity", "order_free_error_low", "order_free_error_high",
    "order_free_error_se", "order_sensitivity_low", "order_sensitivity_high", "order_sensitivity_se",
    "value_ij", "value_ji", "kept_low", "kept_high",
)  # fmt: skip


@dataclass(frozen=True)
class _Request:
    place: Place
    axis: str
    bits: Mapping[tuple[Order, Variant | None], Xs]
    bounds: Bounds | None


def metrics(
    table: ResultTable,
    at: At = "area",
    axis: str = "scaled",
    criteria: Sequence[str] | None = None,
    along: str | None = None,
    size: int = 2,
    within: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Order-free error and order sensitivity of every set of `size` methods that the table composes.

    `at`: `area` (integral over γ), `published` (γ .25 for sparsity, 4 for bits), a γ, γ by
    strength or method name, or these as text (`sparsity=0.25,bits=4`). `axis` of the area:
    `scaled` (γ rescaled to [0, 1], the value stays in the criterion's unit), `gamma`
    (criterion × γ) or `avg_bits` (criterion × bits). `along`: the method whose γ is the
    axis where several are swept; otherwise the compressor's. `within`: the bounded form,
    criterion -> decay from the untouched model in the criterion's unit; other γ do not count.

    Columns: COLUMNS first, then intervals (95 % bootstrap over replicates) and standard
    errors, `value_ij` and `value_ji` (the criterion itself after i then j, and j then i),
    `best_order`, `points_asked`, `sensitivity_points`, `kept_low` and `kept_high` (the γ that count in
    every replicate), kinds, categories, `direction` and
    `reason`. Metrics are computed per replicate, then averaged; `n_points` is the fewest
    points that a replicate stands on. A missing number is null and `reason` says why.
    Raises RequestError for unknown criteria, axes, names and for `size` outside 2 … 4.
    """
    import pandas as pd

    if size not in range(2, len(METHODS) + 1):
        raise RequestError(f"sets of {size} methods", allowed=f"2 to {len(METHODS)}")
    names = chosen_criteria(table, criteria)
    cells = final_cells(table)
    composing = [family for family in families(cells, along) if _composes(family, size)]
    scales = {name: scale_of(table, name) for name in chosen_criteria(table, None)}
    bits = _bits_axis(composing) if check_axis(axis) == "avg_bits" else {}
    request = _Request(place(at, composing), axis, bits, bounds(within, scales, cells) if within else None)
    rows = [_row(family, name, scales[name], request) for name in names for family in composing]
    return _typed(pd.DataFrame(rows, columns=_columns(size)))


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Types with a real null: an empty column must not turn into NaN or objects."""
    numbers = {name: "Float64" for name in NUMBERS if name in frame.columns}
    counts = dict.fromkeys(("n_points", "n_replicates", "points_asked", "sensitivity_points"), "Int64")
    return frame.astype({**numbers, **counts, "criterion": "string", "reason": "string", "best_order": "string"})


def _composes(family: Family, size: int) -> bool:
    """Whether the methods can be put into more than one order."""
    return len(family.pair) == size and len(set(family.pair)) > 1


def _columns(size: int) -> list[str]:
    methods = list(METHODS[:size])
    spread = [f"{name}_{end}" for name in COLUMNS[4:6] for end in ("low", "high", "se")]
    values = ["value_ij", "value_ji"] if size == 2 else []
    about = [f"{part}_{method[-1]}" for part in ("kind", "category") for method in methods]
    extras = [
        *values,
        "best_order",
        "points_asked",
        "sensitivity_points",
        "kept_low",
        "kept_high",
        *about,
        "direction",
        "reason",
    ]
    return ["criterion", *methods, *COLUMNS[3:], *spread, *extras]


def _row(family: Family, criterion: str, scale: Scale, request: _Request) -> dict[str, Any]:
    row = _heading(family, criterion, scale)
    gamma, problem = _gamma(family, request.place)
    row["strength"] = gamma
    row["points_asked"] = len(family.grid) if request.place.is_area else 1
    curves = [] if problem else family_curves(family, criterion)
    if not curves:
        nothing = dict.fromkeys(("n_points", "n_replicates", "sensitivity_points"), 0)
        return {**row, **nothing, "reason": problem or f"{criterion} was not measured"}
    rescale = request.axis == "scaled" or not request.place.is_area
    scores = [
        score(members, family.pair, scale, gamma, _xs(family, unit, request), rescale)
        for unit, members in _by_unit(curves).items()
    ]
    return {**row, **_summary(scores, family, scale), "reason": _reasons(scores, family)}


def _heading(family: Family, criterion: str, scale: Scale) -> dict[str, Any]:
    row: dict[str, Any] = {"criterion": criterion, "direction": str(scale.direction)}
    for name, variant in zip(METHODS, family.pair, strict=False):
        row |= {name: variant.label, f"kind_{name[-1]}": str(variant.kind), f"category_{name[-1]}": variant.category}
    return row


def _gamma(family: Family, where: Place) -> tuple[float | None, str | None]:
    """γ of the point form on this family's axis, or why there is none."""
    if where.is_area or family.axis is None:
        return None, None
    gamma, name = where.of(family.axis), family.axis.strength_name
    if gamma is None:
        return None, f"no {name} was asked for"
    for held in family.grid:
        if held is not None and same(held, gamma):
            return held, None
    there = ", ".join(f"{held:g}" for held in family.grid if held is not None)
    return gamma, f"{name} {gamma:g} is not in the sweep of {family.axis.label}: {there}"


def _by_unit(curves: Iterable[Curve]) -> dict[Unit, list[Curve]]:
    units: dict[Unit, list[Curve]] = {}
    for curve in curves:
        units.setdefault((curve.replicate, curve.seed), []).append(curve)
    return units


def _xs(family: Family, unit: Unit, request: _Request) -> Xs:
    """Where each γ lies on the axis asked for, or why it does not count."""
    there = request.bits.get((family.pair, family.axis)) if request.place.is_area else None
    placed: dict[float | None, float | str | None] = {gamma: there[gamma] if there else gamma for gamma in family.grid}
    return {**placed, **(request.bounds.refused(family, unit) if request.bounds else {})}


def _summary(scores: Sequence[Score], family: Family, scale: Scale) -> dict[str, Any]:
    used = [entry for entry in scores if entry.n_points]
    row: dict[str, Any] = {
        "n_points": min((entry.n_points for entry in used), default=0),
        "sensitivity_points": min((entry.sensitivity_points for entry in used), default=0),
        "n_replicates": len(used),
    }
    errors = [entry.order_free_error for entry in used if entry.order_free_error is not None]
    spreads = [entry.order_sensitivity for entry in used if entry.order_sensitivity is not None]
    row |= _interval("order_free_error", summarise(errors)) | _interval("order_sensitivity", summarise(spreads))
    values = {
        order: summarise([entry.values[order] for entry in used if order in entry.values]).mean
        for order in orders_of(family.pair)
    }
    if len(family.pair) == 2:
        row["value_ij"], row["value_ji"] = values.values()
    row["kept_low"], row["kept_high"] = _kept(used)
    return row | {"best_order": _best_order(values, scale)}


def _kept(used: Sequence[Score]) -> tuple[float | None, float | None]:
    """The range of γ that counts in every replicate."""
    spans = [entry.span for entry in used if entry.span is not None]
    if not spans or len(spans) < len(used):
        return None, None
    low, high = max(span[0] for span in spans), min(span[1] for span in spans)
    return (low, high) if low <= high else (None, None)


def _interval(name: str, summary: Summary) -> dict[str, float | None]:
    return {
        name: summary.mean,
        f"{name}_low": summary.low,
        f"{name}_high": summary.high,
        f"{name}_se": summary.stderr,
    }


def _best_order(values: Mapping[Order, float | None], scale: Scale) -> str | None:
    known = [value for value in values.values() if value is not None]
    if len(known) < len(values):
        return None
    top = best(known, scale)
    winners = [order for order, value in values.items() if value is not None and same(value, top)]
    return " > ".join(variant.label for variant in winners[0]) if len(winners) == 1 else None


def _reasons(scores: Sequence[Score], family: Family) -> str | None:
    """Every gap once, with the γ and, where only some replicates have it, how many."""
    units: dict[Gap, int] = {}
    for gap in (gap for entry in scores for gap in dict.fromkeys(entry.gaps)):
        units[gap] = units.get(gap, 0) + 1
    together: dict[tuple[str, str, int], list[str]] = {}
    for gap, count in units.items():
        there = together.setdefault((gap.order, gap.reason, count), [])
        there += [] if gap.strength is None else [f"{gap.strength:g}"]
    texts = []
    for (order, reason, count), gammas in together.items():
        where = f" at {family.axis.strength_name} {', '.join(gammas)}" if gammas and family.axis else ""
        share = "" if count == len(scores) else f" ({count} of {len(scores)} replicates)"
        texts.append(f"{order}{where}: {reason}{share}")
    notes = dict.fromkeys(note for entry in scores for note in entry.notes)
    return "; ".join([*texts, *notes]) or None


def _bits_axis(composing: Iterable[Family]) -> dict[tuple[Order, Variant | None], Xs]:
    return {(family.pair, family.axis): _bits(family) for family in composing}


def _bits(family: Family) -> Xs:
    """γ -> average bits per weight: the nominal ones where measured, since the measured ones depend on the order."""
    name = next((name for name in ("avg_bits_nominal", "avg_bits") if name in family.cells), None)
    held: dict[float | None, set[float]] = {gamma: set() for gamma in family.grid}
    for _, gamma, cell in family.cells.get(name or "", ()):
        if cell.value is not None:
            held[gamma].add(cell.value)
    placed: dict[float | None, float | str] = {}
    for gamma, values in held.items():
        if len(values) == 1:
            placed[gamma] = next(iter(values))
        else:
            shown = ", ".join(f"{value:g}" for value in sorted(values))
            differ = f"average bits differ between orders or replicates ({shown})"
            placed[gamma] = differ if values else "no average bits"
    return placed
