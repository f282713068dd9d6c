"""Methods and criteria as plain rows, for listings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel

from rayci import registry
from rayci.criterion import Criterion
from rayci.errors import RequestError
from rayci.intervention import Intervention

METHOD_COLUMNS = ("name", "kind", "strength", "unit", "grid", "needs", "paper", "what")
CRITERION_COLUMNS = ("name", "direction", "low", "high", "chance", "unit", "item", "per_edit_batch", "needs", "what")


def methods() -> list[dict[str, Any]]:
    """One row a method, kind by kind and plug-ins last: name, kind, strength, its unit and the literature's grid."""
    built_in = list(registry.INTERVENTIONS)
    names = sorted(
        registry.interventions(), key=lambda name: built_in.index(name) if name in built_in else len(built_in)
    )
    return [_row(name, METHOD_COLUMNS, lambda name: _method(registry.intervention(name))) for name in names]


def for_people(row: dict[str, Any]) -> dict[str, Any]:
    """A method's row in fewer columns: its strength with the grid."""
    gamma = " ".join(filter(None, (row["strength"], row["grid"])))
    return {
        "name": row["name"],
        "kind": row["kind"],
        "γ": gamma,
        **{key: row[key] for key in ("needs", "paper", "what")},
    }


def criteria() -> list[dict[str, Any]]:
    """One row a criterion: name, direction, range, chance level, what an item is, whether it reads the edit batch."""
    return [_row(name, CRITERION_COLUMNS, _criterion) for name in registry.criteria()]


def criterion(name: str) -> dict[str, Any]:
    """The same of one criterion; RequestError where there is none of that name."""
    return dict(zip(CRITERION_COLUMNS, (name, *_criterion(name)), strict=True))


def _row(name: str, columns: Sequence[str], describe: Callable[[str], tuple[Any, ...]]) -> dict[str, Any]:
    """A row of a listing; of a broken plug-in the error, which must not hide the others."""
    try:
        return dict(zip(columns, (name, *describe(name)), strict=True))
    except Exception as error:
        problem = error.problem if isinstance(error, RequestError) else f"broken: {type(error).__name__}: {error}"
        return {**dict.fromkeys(columns), "name": name, "what": problem}


def _method(cls: type[Intervention]) -> tuple[Any, ...]:
    gamma = cls.strength
    of_gamma = (gamma.name, gamma.unit, " ".join(f"{value:g}" for value in gamma.grid)) if gamma else (None, None, None)
    return str(cls.kind), *of_gamma, " ".join(sorted(cls.needs)), cls.paper, _first_line(cls)


def _criterion(name: str) -> tuple[Any, ...]:
    cls = registry.criterion(name)
    scale, needs = cls.scale, " ".join(sorted(cls.needs))
    bounds = (scale.low, scale.high, scale.chance, scale.unit)
    return str(scale.direction), *bounds, cls.item, cls.per_edit_batch, needs, _first_line(cls)


def settings(cls: type[Intervention] | type[Criterion]) -> list[dict[str, Any]]:
    """One row a setting: name, default, the testbed's value where it differs, meaning."""
    rows = []
    presets = getattr(cls, "presets", {})
    for name, field in cls.model_fields.items():
        row: dict[str, Any] = {"setting": name, "default": "required" if field.is_required() else repr(field.default)}
        row |= {preset: repr(values[name]) if name in values else "" for preset, values in presets.items()}
        rows.append({**row, "meaning": " ".join((field.description or "").split())})
    return rows


def source(cls: type[BaseModel]) -> str:
    """The documentation of the method's file: formula, source, deviations."""
    module = inspect.getmodule(cls)
    return inspect.getdoc(module) or ""


def _first_line(cls: type[BaseModel]) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]
