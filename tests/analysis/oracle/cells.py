"""The final rows of a table as plain cells: which steps were asked, at which γ, with what result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.compute as pc

from rayci.analysis.scan.variant import Variant, settings_without
from rayci.errors import RequestError, nearest
from rayci.kinds import Direction, Kind, Scale
from rayci.table import ResultTable

_COLUMNS = (
    "model", "recompress", "stage_fingerprint", "steps", "replicate", "seed", "criterion", "value", "reason",
)  # fmt: skip
_FIRST = ("edit_success", "edit_generalization", "edit_locality", "wmdp", "privleak", "mmlu", "utility")
"""The order in which readers of the papers look for criteria; all others follow by name."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One asked step: the method with its γ left open, and the γ it ran at."""

    variant: Variant
    strength: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One final row: the result of a whole composition for one criterion and replicate."""

    steps: tuple[Asked, ...]
    criterion: str
    replicate: int | None
    seed: int | None
    value: float | None
    reason: str | None


def final_cells(table: ResultTable, criteria: Sequence[str] | None = None) -> list[Cell]:
    """The rows at which a composition ends under the sweep's policy, re-compression left out of `steps`.

    Raises RequestError where the table mixes models or re-compression policies: their
    compositions have the same names, and a curve through both would mean nothing.
    """
    chosen = table.arrow.filter(pc.field("final")).select(list(_COLUMNS))
    _refuse_mixture(chosen)
    if criteria is not None:
        chosen = chosen.filter(pc.field("criterion").isin(list(criteria)))
    known: dict[str, tuple[Asked, ...]] = {}
    cells: dict[tuple[Any, ...], Cell] = {}
    for row in chosen.to_pylist():
        mark = row["stage_fingerprint"]
        if mark not in known:
            known[mark] = asked_steps(row["steps"])
        names = ("criterion", "replicate", "seed", "value", "reason")
        cell = Cell(known[mark], *(row[name] for name in names))
        # Two sweeps that share a table may both hold a row; it must be the same one.
        key = (cell.steps, cell.criterion, cell.replicate, cell.seed)
        if key in cells and cells[key] != cell:
            raise RequestError(
                f"two results of {cell.criterion} for the same composition and replicate",
                at=" > ".join(f"{step.variant.method}@{step.strength}" for step in cell.steps),
                hint="read the folder of one run at a time",
            )
        cells[key] = cell
    return list(cells.values())


def asked_steps(steps: Sequence[dict[str, Any]]) -> tuple[Asked, ...]:
    """The steps of a row that the composition asked for, in order; re-compression steps are left out."""
    return tuple(
        Asked(
            Variant(
                Kind(step["kind"]),
                step["method"],
                settings_without(step["settings"], step["strength_name"]),
                step["strength_name"],
            ),
            step["strength"],
        )
        for step in steps
        if step["recompression"] is None
    )


def scale_of(table: ResultTable, criterion: str) -> Scale:
    """The scale of a criterion; where a table carries none, its rows' direction and no range."""
    if criterion in table.scales:
        return table.scales[criterion]
    rows = table.arrow.filter(pc.field("criterion") == criterion)
    return Scale(Direction(rows.column("direction")[0].as_py()))


def chosen_criteria(table: ResultTable, asked: Sequence[str] | None) -> list[str]:
    """Criteria to judge compositions by: those asked for, or all that have a better direction.

    Raises RequestError for a criterion that the table lacks or whose direction is `none`.
    """
    held = sorted(table.arrow.column("criterion").unique().to_pylist(), key=_criterion_rank)
    judged = [name for name in held if scale_of(table, name).direction is not Direction.NONE]
    if asked is None:
        return judged
    for name in asked:
        if name not in judged:
            problem = "has no better direction" if name in held else "is not in the table"
            near = nearest(name, judged)
            raise RequestError(f"criterion {name!r} {problem}", allowed=", ".join(judged) or "none", hint=near)
    return list(dict.fromkeys(asked))


def with_label(variant: Variant, label: str) -> Variant:
    """The variant carrying its label."""
    return replace(variant, label=label)


def _criterion_rank(name: str) -> tuple[int, str]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)


def _refuse_mixture(rows: Any) -> None:
    for column, noun in (("model", "models"), ("recompress", "re-compression policies")):
        held = sorted(set(rows.column(column).to_pylist()))
        if len(held) > 1:
            raise RequestError(
                f"the table holds {len(held)} {noun}",
                allowed=", ".join(held),
                hint="read the folder of one run at a time",
            )
