"""One Parquet file of the result table: rows of one sweep, with the scales of their criteria, under a checksum."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from rayci.errors import CorruptionError
from rayci.kinds import Direction, Scale
from rayci.storage import sealed
from rayci.storage.sealed import File
from rayci.table.checks import check
from rayci.table.row import Row
from rayci.table.schema import SCHEMA, SCHEMA_1, VERSIONS, as_version_2

_SCALES = b"rayci.scales"


@dataclass(frozen=True)
class Part:
    """One Parquet file of a table: rows of one sweep."""

    path: File
    rows: pa.Table
    """Columns as in `SCHEMA`."""
    scales: Mapping[str, Scale]
    """The scale of every criterion that it has rows of."""

    @property
    def sweep(self) -> str:
        """The sweep's fingerprint."""
        return str(self.rows.column("sweep_fingerprint")[0])

    @property
    def problems(self) -> list[str]:
        """What breaks the contract of a part beyond that of a table's rows, in words."""
        several = self.rows.column("sweep_fingerprint").unique()
        directions = self.rows.select(["criterion", "direction"]).group_by(["criterion", "direction"]).aggregate([])
        return [*(["its rows are not of one sweep"] if len(several) != 1 else [])] + [
            f"the direction of {criterion} is not that of its scale"
            for criterion, direction in sorted(tuple(pair.values()) for pair in directions.to_pylist())
            if criterion not in self.scales or self.scales[criterion].direction != direction
        ]


def with_scales(rows: pa.Table, scales: Mapping[str, Scale]) -> pa.Table:
    """The rows with the scales of their criteria as metadata."""
    used = {name: scales[name] for name in rows.column("criterion").unique().to_pylist()}
    return rows.replace_schema_metadata({_SCALES: json.dumps(to_json(used)).encode()})


def write_part(rows: Sequence[Row], scales: Mapping[str, Scale], path: Path) -> None:
    """Write one part with its checksum: complete under `path`, or not there at all."""
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA)
    sealed.write(with_scales(table, scales), path)


def read_part(path: File) -> Part:
    """One part; raises CorruptionError naming the file where it is damaged, or no part of a table."""
    part = open_part(path)
    refuse_broken(part)
    return part


def refuse_broken(part: Part) -> None:
    """CorruptionError naming the file where its rows break the contract of the table."""
    if problems := [*check(part.rows), *part.problems]:
        raise CorruptionError(f"{part.path}: " + "; ".join(problems))


def open_part(path: File) -> Part:
    """A part as it was written, its rows not looked at; CorruptionError where it is damaged, or no part of a table."""
    table = sealed.read(path)
    if not any(table.schema.equals(known, check_metadata=False) for known in (SCHEMA, SCHEMA_1)):
        versions = " or ".join(map(str, VERSIONS))
        raise CorruptionError(f"{path}: columns are not those of result schema version {versions}")
    try:
        scales = _scales((table.schema.metadata or {})[_SCALES])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptionError(f"{path}: the scales of its criteria cannot be read ({error!r})") from None
    if not table.num_rows:
        raise CorruptionError(f"{path}: it has no rows")
    return Part(path, as_version_2(table.replace_schema_metadata(None)), scales)


@cache  # the parts of a run say the same
def _scales(text: bytes) -> Mapping[str, Scale]:
    return MappingProxyType(from_json(json.loads(text)))


def to_json(scales: Mapping[str, Scale]) -> dict[str, dict[str, Any]]:
    """Scales as JSON values."""
    return {name: asdict(scale) for name, scale in sorted(scales.items())}


def from_json(fields_of: Mapping[str, Mapping[str, Any]]) -> dict[str, Scale]:
    """What `to_json` came from; KeyError, TypeError, ValueError or AttributeError where it came from nothing."""
    return {name: Scale(**{**own, "direction": Direction(own["direction"])}) for name, own in fields_of.items()}
