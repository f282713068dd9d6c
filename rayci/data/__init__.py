"""Data of a sweep: the testbed's, the user's own files, or data sets of the literature, all as `rayci.data.records`.

`collect` makes a collection of what a spec says of its parts (`part_source`, `data_presets`; `relocation` says it again
for another place). `supply` finds a part's files, also among `downloaded_files` and `hub_files`, reads their rows
(`row_files`) and makes records of them as the data set says: a file for each, by `data_set`'s form and in the catalogue
`data_sets`; `fields`, `edit_texts`, `question_texts` and `knowedit` are what they share. Large text stays in a file
(`mapped_documents`). `leaks` tells of text that two parts share: `shared_runs` of `word_hashes`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from rayci.data import downloaded_files
from rayci.data.data_presets import PRESETS, preset_of, spelled
from rayci.data.hub_files import AbsentDataError as AbsentDataError
from rayci.data.part_source import PartSource
from rayci.data.records import PARTS, Collection
from rayci.data.supply import locate, supply
from rayci.errors import DataError, Faults, RequestError, each, nearest
from rayci.storage.user_paths import path_of

TESTBED = "testbed"


def collect(
    data: str | Mapping[str, Any] | None, model: str, *, fetch: bool = True, reads: Container[str] = PARTS
) -> Collection:
    """The collection a spec names: `testbed`, a preset, a folder, or part -> source, see `rayci.data.part_source`.

    Without a `data:` key the testbed model reads the testbed's data. What lies on the hub and not in its
    cache is downloaded, unless `fetch` is off. Of a preset only the parts in `reads` are looked for. Raises
    DataError with all that is wrong, each fault with the part as its `key`; AbsentDataError alone where
    nothing is wrong but that data are not here.
    """
    if data is None and model != TESTBED:
        raise DataError(
            f"model {model} needs data",
            at="data",
            allowed="published, a folder with edits.jsonl, forget.jsonl, …, a mapping part: source, or testbed",
            hint="`data: published`, or `data: <folder>`; rayci/data/local.py has the fields of its files",
        )
    if data is None or data == TESTBED:
        from rayci.testbed import collection

        return collection()
    sources = asked(data, reads)
    downloaded_files.folder()  # one fault, not one of every part, where there is none
    return _collection(sources, fetch)


def asked(data: str | Mapping[str, Any], reads: Container[str] = PARTS) -> dict[str, PartSource]:
    """Part -> source of a preset, a folder or a mapping; of a preset the parts in `reads`.

    RequestError for a folder without data, an unknown preset, part, source or key. Of a mapping nothing is opened.
    """
    named = spelled(data)
    if isinstance(named, str):
        return _folder(named)
    for part in named:
        if part not in PARTS:
            raise DataError(f"no data part {part!r}", allowed=", ".join(PARTS), hint=nearest(part, PARTS), key=(part,))
    sources = {part: PartSource.of(part, source) for part, source in named.items()}
    chosen = PARTS if preset_of(data) is None else reads
    return {part: source for part, source in sources.items() if part in chosen}


def _folder(path: str) -> dict[str, PartSource]:
    """Every `<part>.jsonl` of a folder; parts without a file stay empty."""
    root = path_of(path, "data")
    if not root.is_dir():
        meant = nearest(path, (*PRESETS, TESTBED))
        if meant:
            raise DataError(f"no data folder {path}", at="data", allowed=", ".join((*PRESETS, TESTBED)), hint=meant)
        raise AbsentDataError(f"no data folder {path}", at="data", hint="a folder with edits.jsonl, forget.jsonl, …")
    files = {part: root / f"{part}.jsonl" for part in PARTS}
    shots = {part: root / f"{part}_shots.jsonl" for part in PARTS}
    present = {
        part: PartSource(path=str(file), shots=str(shots[part]) if shots[part].exists() else None)
        for part, file in files.items()
        if file.exists()
    }
    if not present:
        raise DataError(
            f"{path} holds none of the data files", at="data", allowed=", ".join(f"{p}.jsonl" for p in PARTS)
        )
    return present


def _collection(sources: Mapping[str, PartSource], fetch: bool) -> Collection:
    records: dict[str, Any] = {}
    shots: dict[str, tuple[Any, ...]] = {}
    absent_shots: dict[str, str] = {}
    origins: dict[str, str] = {}
    commits: dict[str, str] = {}
    faults: list[RequestError] = []
    for part, source in sources.items():
        try:
            supplied = supply(part, source, fetch=fetch)
            shots[part], absent_shots[part] = shots_of(part, source, fetch)
        except RequestError as error:
            faults += each(error.under(part))
            continue
        records[part], origins[part] = supplied.records, supplied.origin
        if supplied.commits:
            commits[part] = ", ".join(supplied.commits)
    told = [fault for fault in faults if not isinstance(fault, AbsentDataError)] or faults
    if told:  # each with its key, though several parts may lack the same file
        raise told[0] if len(told) == 1 else Faults(told)
    return Collection(
        **records,
        shots={part: few for part, few in shots.items() if few},
        absent_shots={part: told for part, told in absent_shots.items() if told},
        arranged=frozenset(part for part, source in sources.items() if source.data_set.arranged),
        sources=origins,
        commits=commits,
    )


def shots_of(part: str, source: PartSource, fetch: bool) -> tuple[tuple[Any, ...], str]:
    """(the part's few-shot examples, what is to be fetched where the data set has some and they are not here)."""
    examples, known = source.examples(part), source.data_set
    if examples is None:
        return (), ""
    try:
        list(locate(part, examples, fetch=fetch))
    except DataError as error:
        refused = source.path is None and not isinstance(error, AbsentDataError)
        if source.shots is not None or refused:
            raise
        command = "" if source.path else "; `rayci data fetch SPEC` does"
        return (), f"fetch split {examples.split} of {known.name} ({known.fetch}{command})"
    return tuple(supply(part, examples, fetch=fetch, first=known.most_shots).records), ""
