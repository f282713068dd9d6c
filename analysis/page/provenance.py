"""Where the numbers of a table come from: sweep, model, versions, hardware, and what its stages took."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow.compute as pc

from rayci.kinds import Status
from rayci.table import ResultTable


@dataclass(frozen=True)
class KindTimes:
    """The stages of one kind: how many, and seconds of applying their last step and of measuring."""

    kind: str
    """`edit`, `compress`, `unlearn`, `refit`, `reproject`, or `untouched model`."""
    stages: int
    apply_total: float | None
    apply_median: float | None
    measure_total: float | None
    measure_median: float | None
    peak_memory: float | None
    """GiB of accelerator memory; None on a CPU."""


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


def times(table: ResultTable) -> list[KindTimes]:
    """What the stages took by the kind of their last step; empty where no time was recorded."""
    names = ["stage_fingerprint", "steps", "apply_seconds", "measure_seconds", "peak_memory_bytes"]
    rows = pl.from_arrow(table.arrow.select(names))
    assert isinstance(rows, pl.DataFrame)
    last = pl.col("steps").list.last()
    kind = pl.coalesce(last.struct.field("recompression"), last.struct.field("kind"), pl.lit("untouched model"))
    stages = rows.group_by("stage_fingerprint", maintain_order=True).agg(
        kind.first().alias("kind"),
        pl.col("apply_seconds").max(),
        _total("measure_seconds"),
        pl.col("peak_memory_bytes").max() / 2**30,
    )
    seconds = [
        part
        for name in ("apply_seconds", "measure_seconds")
        for part in (_total(name).alias(f"{name}_total"), pl.col(name).median().alias(f"{name}_median"))
    ]
    kinds = stages.group_by("kind", maintain_order=True).agg(pl.len(), *seconds, pl.col("peak_memory_bytes").max())
    taken = [KindTimes(*row) for row in kinds.iter_rows()]
    return [kind for kind in taken if kind.apply_median is not None or kind.measure_median is not None]


def _total(name: str) -> pl.Expr:
    """The sum of what was recorded; null where nothing was."""
    return pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).otherwise(None)


def _span(arrow: Any) -> str:
    if not arrow.num_rows:
        return "nothing"
    ends = pc.min_max(arrow.column("recorded_at")).as_py()
    first, last = (f"{ends[end]:%Y-%m-%d %H:%M}" for end in ("min", "max"))
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"


def _counts(arrow: Any) -> str:
    parts = [f"{int(pc.sum(pc.equal(arrow.column('status'), s.value)).as_py() or 0)} {s}" for s in Status]
    return f"{arrow.num_rows}: " + ", ".join(parts)
