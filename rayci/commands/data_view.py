"""What `rayci data` says of every part of a spec's data: where it comes from, whether it is here, what to fetch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayci.data import TESTBED, AbsentDataError, asked, collect, downloaded_files, shots_of
from rayci.data.leaks import leaks
from rayci.data.part_source import PartSource
from rayci.data.records import Collection
from rayci.data.supply import bytes_to_fetch, contents, supply
from rayci.errors import RequestError
from rayci.model.folder import locate, on_the_hub
from rayci.planning import own_folders
from rayci.planning.spec import Spec
from rayci.storage import hub_cache, named_folders
from rayci.units import size

PRESENT, MISSING, BROKEN = "present", "missing", "broken"
_COLUMNS = ("part", "source", "licence", "gate", "state", "size", "records", "left_out", "to_do", "into")


@dataclass(frozen=True)
class Told:
    """What is said of a part."""

    row: dict[str, Any]
    records: Sequence[Any] = ()
    """Those that are here."""

    @property
    def line(self) -> str:
        """The same in one line."""
        row = self.row
        if row["state"] != PRESENT:
            return f"{row['part']}: {row['state']}: {row['to_do']}"
        records = "" if row["records"] is None else f"{row['records']} records"
        facts = [row["source"], row["size"], records, row["to_do"]]
        return f"{row['part']}: " + ", ".join(filter(None, facts))


def parts(spec: Spec, *, fetch: bool = False) -> Iterator[Told]:
    """Every part in turn; what is not here is fetched where that is asked for.

    RequestError where the data as a whole cannot be told.
    """
    if spec.data in (None, TESTBED):
        held = collect(spec.data, spec.model)
        for part in held.supplied:
            yield _told(part, TESTBED, held.part(part), state=PRESENT)
        return
    sources = asked(spec.data or {}, spec.reads())
    downloaded_files.folder()
    for part, source in sources.items():
        yield _part(part, source, fetch)


def of_criteria(spec: Spec, *, fetch: bool = False) -> Iterator[Told]:
    """What criteria read beside the spec's data, as tasks of lm-eval do; `fetch` as of `parts`."""
    for criterion in spec.measured():
        faults = criterion.own_data_faults(fetch=fetch)
        if faults is not None:
            missing = all(isinstance(fault, AbsentDataError) for fault in faults)
            state = (MISSING if missing else BROKEN) if faults else PRESENT
            problem = "; ".join(map(_said, faults))
            yield _told(criterion.name, "data of its own", (), state=state, to_do=problem, records=None)


def of_methods(spec: Spec, *, fetch: bool = False) -> Iterator[Told]:
    """What methods name beside the spec's data, as `delta` does its source; `fetch` as of `parts`."""
    for source, mark in own_folders.named(spec).items():
        try:
            folder = mark.locate(source, fetch=fetch)
        except RequestError as error:
            state = MISSING if isinstance(error, hub_cache.Absent) or fetch else BROKEN
            yield _told(source, "named by a method", (), state=state, to_do=_said(error), records=None)
            continue
        room = _room(named_folders.matching(folder, mark.files))
        yield _told(source, "named by a method", (), state=PRESENT, size=room, records=None)


def fetched_model(spec: Spec) -> Told:
    """The model, which is fetched where it is on the hub and not here."""
    try:
        folder = locate(spec.model, code=spec.trust_remote_code)
    except RequestError as error:
        return _told("model", spec.model, (), state=MISSING, to_do=_said(error), records=None)
    place = f"{spec.model.partition('@')[0]}@{folder.name}" if on_the_hub(spec.model) else spec.model
    return _told("model", place, (), state=PRESENT, size=_room(folder.iterdir()), records=None)


def leaks_told(spec: Spec, told: Iterable[Told]) -> list[RequestError]:
    """The text that parts share which are here, but for what may overlap."""
    held: dict[str, Any] = {one.row["part"]: one.records for one in told if one.records}
    return list(leaks(Collection(**held), spec.overlaps_allowed()))


def _part(part: str, source: PartSource, fetch: bool) -> Told:
    known = source.data_set
    try:
        given = supply(part, source, fetch=fetch)
        _, lacking = shots_of(part, source, fetch)
    except RequestError as error:
        gates = [content.gate for content in contents(part, source) if content.gate and source.path is None]
        said = {"licence": known.licence, "gate": "; ".join(gates), "records": None}
        if fetch or not isinstance(error, AbsentDataError):
            state = MISSING if isinstance(error, AbsentDataError) or fetch else BROKEN
            return _told(part, source.named, (), **said, state=state, to_do=_said(error))
        into = f"{known.name}/ in RAYCI_DATA, the hub's cache, or a folder for `path:`"
        room = bytes_to_fetch(part, source)
        said["size"] = "" if room is None else f"{size(room)} to fetch"
        return _told(part, source.named, (), **said, state=MISSING, to_do=known.fetch, into=into)
    left_out = "; ".join(f"{count}: {reason}" for reason, count in given.left_out.items())
    release = known.release(given.records) if known.release else ""
    facts = {"licence": known.licence, "state": PRESENT, "size": _room(given.files), "left_out": left_out}
    facts["to_do"] = lacking and f"its few-shot examples are not here: {lacking}"
    return _told(part, ", ".join(filter(None, (given.origin, release))), given.records, **facts)


def _said(error: RequestError) -> str:
    place = f" ({error.at})" if error.at else ""
    return error.problem + place + (f"; {error.hint}" if error.hint else "")


def _room(files: Iterable[Path]) -> str:
    return size(sum(file.stat().st_size for file in files if file.is_file()))


def _told(part: str, source: str, held: Sequence[Any], **known: Any) -> Told:
    empty = dict.fromkeys(_COLUMNS, "")
    return Told({**empty, "part": part, "source": source, "records": len(held), **known}, held)
