"""What the catalogue says of a data set: where it lies, which files make which part, and how a row becomes a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_SUFFIXES = (
    "-*.parquet",
    ".parquet",
    ".arrow",
    "/data-*.arrow",  # as `datasets` saves to disk
    ".jsonl",
    ".jsonl.gz",
    ".jsonl.zst",
    ".json",
    ".json.gz",
    ".csv",
)


@dataclass(frozen=True, slots=True)
class Content:
    """Files of one split, of one topic where the set has topics."""

    patterns: tuple[str, ...]
    """Where they lie in a folder, tried in turn: the hub's layout, then those of other releases."""
    topic: str = ""
    repository: str | None = None
    """Its place on the hub, where that is not the set's."""
    gate: str | None = None
    """What must be agreed to before it may be fetched."""
    elsewhere: tuple[str, ...] = ()
    """Where copies from other places than the hub hold them, tried after `patterns` in a folder of this machine."""


@dataclass(frozen=True)
class DataSet:
    """One data set, or one family of equal schema."""

    name: str
    licence: str
    repository: str | None
    """Its place on the hub, `owner/name`; None for one that is only to be had elsewhere."""
    fetch: str
    """What to fetch, and from where, for whoever does it by hand."""
    parts: Mapping[str, str]
    """Part of a spec's data -> split that it reads where the spec names none."""
    splits: Mapping[str, tuple[Content, ...]]
    read: Callable[[Any, Content, str], Any]
    """(row, content, part) -> record. Raises ValueError for a malformed row, Unusable for one to leave out."""
    shots: Mapping[str, str] = field(default_factory=dict)
    """Part -> split of its few-shot examples, where it has some."""
    most_shots: int | None = None
    """Examples that are read, the first of their split, where that was not made for them and is large."""
    topics: tuple[str, ...] = ()
    """Topics that are read where the spec names none."""
    topic_of: Callable[[Any], str] | None = None
    """Topic of a row that `read` took, where one file holds several topics; without `topics`, any may be named."""
    arranged: Callable[[list[Any]], list[Any]] | None = None
    """The rows of a file in a published order, of which edit batches are taken as it stands, without a shuffle."""
    release: Callable[[Sequence[Any]], str] | None = None
    """Which of its releases the records are of, for people; "" where they do not tell."""
    limit: int | None = None
    """Records that are taken where the spec says nothing."""
    streamed: bool = False
    """Too large to be read as a whole: a limit takes the first records, else records evenly spread."""
    plain_lines: bool = False
    """A line that is no JSON is a record too."""

    @property
    def known_topics(self) -> tuple[str, ...]:
        """Topics that a spec may name."""
        by_content = dict.fromkeys(content.topic for contents in self.splits.values() for content in contents)
        return tuple(topic for topic in by_content if topic) or self.topics

    @property
    def any_topic(self) -> bool:
        """Whether its topics are too many to be listed here."""
        return self.topic_of is not None and not self.known_topics

    @property
    def repositories(self) -> frozenset[str]:
        """Its places on the hub."""
        own = {content.repository for contents in self.splits.values() for content in contents}
        return frozenset(name for name in {self.repository, *own} if name)


def layout(*bases: str) -> tuple[str, ...]:
    """Patterns of files by their names without an ending."""
    return tuple(base + suffix for base in bases for suffix in _SUFFIXES)


def inside(folder: str, *names: str) -> tuple[str, ...]:
    """Patterns of files in a folder."""
    return tuple(f"{folder}/{name}" for name in names)
