"""Methods and criteria as plain rows, for listings."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import BaseModel

from rayci import registry
from rayci.criterion import Criterion
from rayci.errors import RequestError
from rayci.intervention import Intervention

METHOD_COLUMNS = ("name", "kind", "strength", "unit", "grid", "needs", "what")


def methods() -> list[dict[str, Any]]:
    """One row a method: name, kind, strength, its unit and the literature's grid."""
    rows = []
    for name in registry.interventions():
        try:
            cls = registry.intervention(name)
        except RequestError as error:  # a broken plug-in must not hide the others
            rows.append({**dict.fromkeys(METHOD_COLUMNS), "name": name, "what": error.problem})
            continue
        gamma = cls.strength
        rows.append(
            {
                "name": name,
                "kind": str(cls.kind),
                "strength": gamma.name if gamma else None,
                "unit": gamma.unit if gamma else None,
                "grid": " ".join(f"{value:g}" for value in gamma.grid) if gamma else None,
                "needs": " ".join(sorted(cls.needs)),
                "what": _first_line(cls),
            }
        )
    return rows


def criteria() -> list[dict[str, Any]]:
    """One row a criterion: name, direction, range, chance level, and whether it depends on the edit batch."""
    rows = []
    for name in registry.criteria():
        cls = registry.criterion(name)
        rows.append(
            {
                "name": name,
                "direction": str(cls.scale.direction),
                "low": cls.scale.low,
                "high": cls.scale.high,
                "chance": cls.scale.chance,
                "unit": cls.scale.unit,
                "per_edit_batch": cls.per_edit_batch,
                "needs": " ".join(sorted(cls.needs)),
                "what": _first_line(cls),
            }
        )
    return rows


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
