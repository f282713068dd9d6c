"""Where the numbers of a table come from: sweep, model, versions, hardware."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.compute as pc

from rayci.kinds import Status
from rayci.table import ResultTable


def provenance(table: ResultTable) -> list[tuple[str, str]]:
    """(what, value) pairs for the foot of a report; several values are listed, none is left out."""
    arrow = table.arrow
    values = {name: sorted(str(value) for value in arrow.column(name).unique().to_pylist() if value) for name in _NAMES}
    facts = [(label, ", ".join(values[name]) or "not recorded") for name, label in _NAMES.items()]
    held: dict[str, set[str]] = {}
    for text in arrow.column("versions").unique().to_pylist():
        for name, value in json.loads(text).items():
            held.setdefault(name, set()).update(_texts(value))
    facts += [(label, ", ".join(sorted(held.pop(name)))) for name, label in _OF_DATA.items() if name in held]
    versions = [f"{package} {', '.join(sorted(texts))}" for package, texts in sorted(held.items())]
    facts.append(("versions", ", ".join(versions) or "not recorded"))
    return [*facts, ("recorded", _span(arrow)), ("rows", _counts(arrow))]


def _texts(value: str | list[str | list[str]]) -> list[str]:
    """One version, or what a list of texts and of pairs holds."""
    return (
        [value] if isinstance(value, str) else [item if isinstance(item, str) else " and ".join(item) for item in value]
    )


_OF_DATA = {"data": "from the hub", "allow_overlap": "texts allowed to overlap"}
"""What the column `versions` says of the data, and how it is called here."""
_NAMES = {
    "sweep": "sweep",
    "sweep_fingerprint": "sweep fingerprint",
    "model": "model",
    "model_fingerprint": "model fingerprint",
    "recompress": "re-compression policy",
    "device": "hardware",
    "dtype": "dtype",
    "schema_version": "result schema version",
}


def _span(arrow: Any) -> str:
    if not arrow.num_rows:
        return "nothing"
    ends = pc.min_max(arrow.column("recorded_at")).as_py()
    first, last = (f"{ends[end]:%Y-%m-%d %H:%M}" for end in ("min", "max"))
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"


def _counts(arrow: Any) -> str:
    parts = [f"{int(pc.sum(pc.equal(arrow.column('status'), s.value)).as_py() or 0)} {s}" for s in Status]
    return f"{arrow.num_rows}: " + ", ".join(parts)
