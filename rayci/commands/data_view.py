"""What `rayci data` says of every part of a spec's data: where it comes from, whether it is here, what to fetch."""

from __future__ import annotations

from typing import Any

from rayci.data import TESTBED, AbsentDataError, asked, collect
from rayci.data.part_source import PartSource
from rayci.data.supply import contents, supply
from rayci.errors import RequestError
from rayci.planning.spec import Spec
from rayci.units import size

PRESENT, MISSING, BROKEN = "present", "missing", "broken"


def parts(spec: Spec) -> list[dict[str, Any]]:
    """One row a part; nothing is downloaded. RequestError where the data as a whole cannot be told."""
    if spec.data in (None, TESTBED):
        held = collect(spec.data, spec.model)
        return [_row(part, TESTBED, state=PRESENT, records=len(held.part(part))) for part in held.supplied]
    return [_part(part, source) for part, source in asked(spec.data or {}, spec.reads()).items()]


def _part(part: str, source: PartSource) -> dict[str, Any]:
    known = source.data_set
    said = {"licence": known.licence}
    try:
        given = supply(part, source, fetch=False)
    except RequestError as error:
        gates = [content.gate for content in contents(part, source) if content.gate and source.path is None]
        state = MISSING if isinstance(error, AbsentDataError) else BROKEN
        place = f"{error.problem} ({error.at})" if error.at else error.problem
        todo = (
            f"{known.fetch}; into the hub's cache, {known.name}/ in RAYCI_DATA, or a folder for `path:`"
            if state == MISSING
            else place
        )
        return _row(part, source.named, **said, gate="; ".join(gates), state=state, to_do=todo)
    left_out = "; ".join(f"{count}: {reason}" for reason, count in given.left_out.items())
    room = size(sum(file.stat().st_size for file in given.files))
    release = known.release(given.records) if known.release else ""
    origin = f"{given.origin}, {release}" if release else given.origin
    return _row(part, origin, **said, state=PRESENT, size=room, records=len(given.records), left_out=left_out)


def _row(part: str, source: str, **known: Any) -> dict[str, Any]:
    empty = {"licence": "", "gate": "", "state": "", "size": "", "records": None, "left_out": "", "to_do": ""}
    return {"part": part, "source": source, **empty, **known}
