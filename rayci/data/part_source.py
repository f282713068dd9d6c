"""What a spec says of one part of its data: a name, a file, a place on the hub, or a mapping of these."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from rayci.data.data_set import DataSet
from rayci.data.data_sets import OWN, known_sets, of_repository
from rayci.data.row_files import SUFFIXES
from rayci.errors import DataError, RequestError, nearest
from rayci.settings import Strict, settings_error
from rayci.storage.user_paths import path_of

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?", re.ASCII)
_FORMS = "the name of a data set, a file, or owner/name[@revision]"


class PartSource(Strict):
    """Where one part comes from, and how much of it is read."""

    source: Annotated[str, Field(min_length=1)] = OWN
    """A data set of the catalogue, a file, or a hub id. Default: the project's own schema."""
    path: Annotated[str, Field(min_length=1)] | None = None
    """File or folder on this machine; without it the hub's cache, then the hub."""
    split: str | None = None
    """Split to read. Default: the one that the part is for."""
    topics: tuple[str, ...] = ()
    """Topics to read. Default: the data set's own choice."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Records at most, evenly spread over the file; of large text the first."""
    shots: Annotated[str, Field(min_length=1)] | None = None
    """File of few-shot examples, in the schema of the part's. Default: those that the data set has."""
    revision: str | dict[str, str] | None = None
    """Branch, tag or commit on the hub, or owner/name -> one, where files come from several places. Default: main."""

    @classmethod
    def of(cls, part: str, asked: Any) -> PartSource:
        """What a spec gives for a part, checked; RequestError whose `key` is the part, or a key below it."""
        if not isinstance(asked, (str, Mapping)):
            raise DataError(f"{part} = {asked!r} is no source", allowed=f"{_FORMS}, or a mapping", key=(part,))
        try:
            said = cls.model_validate({"source": asked} if isinstance(asked, str) else dict(asked))
        except ValidationError as error:
            raise _shape(part, error) from None
        try:
            source = said._resolved()
            source._check(part)
        except RequestError as error:
            raise DataError(error.problem, allowed=error.allowed, hint=error.hint, key=(part, *error.key)) from None
        return source

    @property
    def data_set(self) -> DataSet:
        """The data set whose schema the files have."""
        return known_sets().get(self.source) or of_repository(self.source) or known_sets()[OWN]

    @property
    def repository(self) -> str | None:
        """Its place on the hub, where it has one."""
        return self.source if _HUB.fullmatch(self.source) else self.data_set.repository

    def revision_of(self, repository: str | None) -> str | None:
        """The revision that is asked of a place on the hub; a lone one is that of the data set's own."""
        if isinstance(self.revision, dict):
            return self.revision.get(repository or "")
        return self.revision if repository == self.repository else None

    def examples(self, part: str) -> PartSource | None:
        """Where the part's few-shot examples come from; None where there are none."""
        if self.shots is not None:
            return self.model_copy(update={"path": self.shots, "split": None, "limit": None, "shots": None})
        split = self.data_set.shots.get(part)
        alone = self.path is not None and path_of(self.path).is_file()
        return None if split is None or alone else self.model_copy(update={"split": split, "limit": None})

    @property
    def named(self) -> str:
        """What the spec names, for people."""
        return self.path or (f"{self.source}@{self.revision}" if isinstance(self.revision, str) else self.source)

    def _resolved(self) -> PartSource:
        """The same with a file or a revision taken out of `source`."""
        if self.source in known_sets():
            return self
        if _names_a_file(self.source):
            if self.path is not None:
                raise RequestError(f"source {self.source} is a file, and path names another", key=("path",))
            return self.model_copy(update={"source": OWN, "path": self.source})
        if not _HUB.fullmatch(self.source):
            known = sorted(known_sets())
            raise RequestError(
                f"no data set {self.source!r}",
                allowed=f"{', '.join(known)}; or a file, or owner/name[@revision]",
                hint=nearest(self.source, known),
            )
        name, _, revision = self.source.partition("@")
        if revision and self.revision:
            raise RequestError(f"the revision is given twice, {revision} and {self.revision}", key=("revision",))
        return self.model_copy(update={"source": name, "revision": revision or self.revision})

    def _check(self, part: str) -> None:
        known = self.data_set
        if part not in known.parts:
            fitting = sorted(name for name, other in known_sets().items() if part in other.parts)
            raise RequestError(
                f"{known.name} has no {part}",
                allowed=f"{known.name} gives {', '.join(known.parts)}; {part} comes from {', '.join(fitting)}",
            )
        if self.split is not None and self.split not in known.splits:
            splits = list(known.splits)
            raise RequestError(
                f"{known.name} has no split {self.split!r}",
                allowed=", ".join(splits),
                hint=nearest(self.split, splits),
                key=("split",),
            )
        for topic in self.topics:
            if topic not in known.known_topics and not known.any_topic:
                raise RequestError(
                    f"{known.name} has no topic {topic!r}",
                    allowed=", ".join(known.known_topics) or "none: leave topics out",
                    hint=nearest(topic, known.known_topics),
                    key=("topics",),
                )


def _names_a_file(text: str) -> bool:
    if text.endswith(SUFFIXES) or text.startswith((".", "/", "~")):
        return True
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return True  # what no file system can answer is said where the path is looked at


def _shape(part: str, error: ValidationError) -> RequestError:
    first = error.errors()[0]
    keys = list(PartSource.model_fields)
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        return DataError(f"unknown key {key!r}", allowed=", ".join(keys), hint=nearest(key, keys), key=(part, key))
    fault = settings_error(part, error)
    return DataError(fault.problem, key=(part, *map(str, fault.key[:1])))
