"""A part of the data, read: its files found, their rows made records, and what could not be used counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from rayci.data import downloaded_files, hub_files, mapped_documents
from rayci.data.data_set import Content
from rayci.data.fields import Unusable
from rayci.data.hub_files import AbsentDataError
from rayci.data.mapped_documents import MappedDocuments
from rayci.data.part_source import PartSource
from rayci.data.records import TEXTS
from rayci.data.row_files import LINES, rows
from rayci.errors import DataError, StorageError
from rayci.fingerprint import fingerprint, hash_file
from rayci.storage import hub_cache
from rayci.storage.prepared import once
from rayci.storage.user_paths import path_of

MAPPED_FROM = 1 << 24
"""Bytes of source files from which on documents are kept in a file: in memory they take four times as much."""

Located = tuple[Content, list[Path], str | None]
"""A content, its files, and `owner/name@commit` where they came from the hub."""


@dataclass(frozen=True)
class Supply:
    """What a source gives for a part."""

    records: Sequence[Any]
    """A tuple; documents of large files stay in a file of the node's, see `rayci.data.mapped_documents`."""
    files: tuple[Path, ...]
    """The files that were read, in their order."""
    left_out: Mapping[str, int]
    """Reason -> well-formed rows that no method could use."""
    commits: tuple[str, ...] = ()
    """`owner/name@commit` of what came from the hub."""

    @property
    def origin(self) -> str:
        """Where the records came from, for messages."""
        return ", ".join(self.commits or (str(file) for file in self.files))


def supply(part: str, source: PartSource, *, fetch: bool, first: int | None = None) -> Supply:
    """The records of a part, or the `first` of them.

    Raises AbsentDataError where the files are not here and may not, or cannot, be fetched; DataError with file
    and line or row where one cannot be read, or where nothing in them can be used.
    """
    located = list(locate(part, source, fetch=fetch))
    files = tuple(file for _, found, _ in located for file in found)
    large = part in TEXTS and first is None and sum(file.stat().st_size for file in files) >= MAPPED_FROM
    records, left_out = (_kept(part, source, located) if large else None) or _read(part, source, located, first)
    if not records:
        said = "; ".join(f"{count} rows: {reason}" for reason, count in left_out.items())
        nothing = f"no record on {', '.join(source.topics)}" if source.topics else "no record"
        problem = f"none of its records can be used: {said}" if said else f"the data file holds {nothing}"
        raise DataError(problem, at=str(files[0]), hint=None if said else LINES)
    commits = dict.fromkeys(commit for _, _, commit in located if commit)
    return Supply(records, files, left_out, tuple(commits))


def _read(
    part: str, source: PartSource, located: Sequence[Located], first: int | None
) -> tuple[Sequence[Any], Mapping[str, int]]:
    reading = _Reading(part, source, Counter())
    records = tuple(islice(_limited(source, reading.records(located)), first))
    return records, dict(reading.left_out)


def _kept(part: str, source: PartSource, located: Sequence[Located]) -> tuple[Sequence[Any], Mapping[str, int]] | None:
    """The same from a file that is made once on this node; None where it has no room for it."""
    states = [(file, file.stat()) for _, files, _ in located for file in files]
    seen = [[str(file.resolve()), state.st_size, state.st_mtime_ns] for file, state in states]

    def make(path: Path) -> dict[str, Any]:
        reading = _Reading(part, source, Counter())
        digest = mapped_documents.write(_limited(source, reading.records(located)), path)
        return {"fingerprint": digest, "left_out": dict(reading.left_out)}

    name = fingerprint(["documents", own_code(), part, source.model_dump(mode="json"), seen])
    with suppress(StorageError):
        path, facts = once(f"{name}.arrow", make)
        return MappedDocuments(path, facts["fingerprint"]), facts["left_out"]
    return None


@cache
def own_code() -> str:
    """Identity of the code of this room: what another version of it has kept is not taken for this one's."""
    return fingerprint([hash_file(path) for path in sorted(Path(__file__).parent.glob("*.py"))])


def locate(part: str, source: PartSource, *, fetch: bool) -> Iterator[Located]:
    """Everything that a source gives for a part; raises what `supply` does of files that are not here."""
    for content in contents(part, source):
        if source.path is not None:
            yield content, _local(path_of(source.path), source, content), None
        elif files := _downloaded(source, content):
            yield content, files, None
        else:
            yield content, *_of_the_hub(source, content, fetch)


def _downloaded(source: PartSource, content: Content) -> list[Path]:
    """Files in the folder of downloads; none where a revision is asked for, which nothing there says."""
    if source.revision_of(content.repository or source.repository) is not None:
        return []
    return next(filter(None, (found(*place) for place in downloaded_files.places(source.data_set, content))), [])


def places_on_the_hub(part: str, source: PartSource) -> list[str]:
    """`owner/name` of all that a source may have to fetch for a part; none for files of this machine."""
    if source.path is not None:
        return []
    places = (content.repository or source.repository for content in contents(part, source))
    return list(dict.fromkeys(filter(None, places)))


def _of_the_hub(source: PartSource, content: Content, fetch: bool) -> tuple[list[Path], str]:
    known, repository = source.data_set, content.repository or source.repository
    if repository is None:
        raise AbsentDataError(
            f"{known.name} is not on the hub",
            hint=f"fetch {known.fetch}, and give `path:`, or put it into {known.name}/ in the folder of RAYCI_DATA",
        )
    folder, commit = hub_files.snapshot(repository, source.revision_of(repository), content.patterns, fetch=fetch)
    name = f"{repository}@{commit}"
    return _matching(folder, content.patterns, name), name


def bytes_to_fetch(part: str, source: PartSource) -> int | None:
    """Size of what a source has for a part and is not here; None where the hub does not tell, or has it not."""
    sizes: list[int | None] = []
    for content in contents(part, source):
        repository = content.repository or source.repository
        if source.path is not None or repository is None:
            return None
        if _downloaded(source, content):
            continue
        try:
            _of_the_hub(source, content, fetch=False)
        except AbsentDataError:
            revision = source.revision_of(repository)
            sizes.append(hub_cache.bytes_to_fetch(repository, "dataset", revision, content.patterns))
    return None if None in sizes else sum(filter(None, sizes))


def contents(part: str, source: PartSource) -> list[Content]:
    """What a source reads for a part: its split, in the topics that were asked for."""
    known = source.data_set
    split = known.splits[source.split or known.parts[part]]
    topics = source.topics or known.topics
    chosen = [content for content in split if not content.topic or content.topic in topics]
    if source.path is not None and path_of(source.path).is_file():
        place = Path(source.path)
        named = [content for content in chosen if any(map(place.match, (*content.patterns, *content.elsewhere)))]
        return named or [Content((), source.topics[0] if len(source.topics) == 1 else "")]
    return chosen


def _local(place: Path, source: PartSource, content: Content) -> list[Path]:
    if place.is_dir():
        patterns = (*content.patterns, *content.elsewhere)
        files = found(place, patterns)
        if not files:  # a folder that is here will not be another one elsewhere
            raise DataError(f"{place} holds none of the data files", allowed=", ".join(patterns))
        return files
    if not place.exists():
        raise AbsentDataError(f"no data file {source.path}", at=str(place), hint=source.data_set.fetch)
    return [place]


def _matching(folder: Path, patterns: Sequence[str], name: str) -> list[Path]:
    files = found(folder, patterns)
    if not files:
        raise AbsentDataError(f"{name} holds none of the data files", allowed=", ".join(patterns))
    return files


def found(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """The files of the first pattern that any has, sorted."""
    return next(filter(None, (sorted(folder.glob(pattern)) for pattern in patterns)), [])


@dataclass(frozen=True)
class _Reading:
    part: str
    source: PartSource
    left_out: Counter[str]

    def records(self, located: Sequence[Located]) -> Iterator[Any]:
        for content, files, _ in located:
            for file in files:
                yield from self._of(file, content)

    def _of(self, file: Path, content: Content) -> Iterator[Any]:
        known = self.source.data_set
        found = rows(file, plain_lines=known.plain_lines)
        for place, row in known.arranged(list(found)) if known.arranged else found:
            try:
                record = known.read(row, content, self.part)
            except Unusable as reason:
                self.left_out[str(reason)] += 1
                continue
            except ValueError as error:
                raise DataError(f"the record cannot be read: {error}", at=place) from None
            if self._wanted(row, content):
                yield record

    def _wanted(self, row: Any, content: Content) -> bool:
        topics, topic_of = self.source.topics, self.source.data_set.topic_of
        return not topics or topic_of is None or bool(content.topic) or topic_of(row) in topics


def _limited(source: PartSource, records: Iterator[Any]) -> Iterator[Any]:
    limit = source.limit or source.data_set.limit
    if limit is None or source.data_set.streamed or source.data_set.arranged:
        return islice(records, limit)
    whole = list(records)  # questions stand by subject, edits by relation: the first of them are one kind
    count = min(limit, len(whole))
    return (whole[index * len(whole) // count] for index in range(count))
