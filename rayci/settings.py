"""What the settings of interventions, criteria and specs share: frozen, no unknown keys, documented fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from rayci.errors import RequestError
from rayci.storage import named_folders
from rayci.storage.hub_cache import Absent


@dataclass(frozen=True)
class Speed:
    """Marks a settings field that changes how fast, never what: it stays out of the fingerprint."""

    least: int = 1
    """What is out of memory is tried again with half of the field's value, but not with less than this."""


@dataclass(frozen=True)
class Later:
    """Marks a settings field that came after results had been stored.

    At its default, which must do what was done before there was the field, it stays out of the fingerprint.
    """


LATER = Later()


@dataclass(frozen=True)
class Folders:
    """Marks a settings field that names a folder, or several, of this machine or of the hub.

    What their files hold is in the fingerprint; where they lie is not.
    """

    files: tuple[str, ...]
    """Patterns of the files that decide."""
    shipped: Mapping[str, Callable[[], Path]] = field(default_factory=dict)
    """Folders that ship with rayci, by the names that stand for them."""

    def locate(self, source: str, *, fetch: bool = True) -> Path:
        """Where it lies, see `named_folders.locate`."""
        own = self.shipped.get(source)
        return own() if own else named_folders.locate(source, self.files, fetch=fetch)

    def content(self, source: str) -> str:
        """Identity of what it holds, the same wherever it lies; its name where it is not here."""
        try:
            return named_folders.content(self.locate(source, fetch=False), self.files)
        except Absent:
            return source


ForwardBatch = Annotated[int, Speed()]
"""Batch size of forward-only work."""


class Strict(BaseModel):
    """Values that a user types: frozen, no unknown key, no infinity, documented fields; compared by value."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic reads `true` as 1 where a number belongs."""
        items = value if isinstance(value, (list, tuple)) else (value,)
        truths = any(isinstance(item, bool) for item in items)
        if truths and not _admits_truth(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("true or false does not belong here")
        return value


class Settings(Strict):
    """Base of interventions and criteria, which are their settings."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised when the results change for the same settings."""

    @classmethod
    def speed_marks(cls) -> dict[str, Speed]:
        """Names of the fields marked `Speed`, with their marks."""
        fields = cls.model_fields.items()
        return {name: mark for name, info in fields for mark in info.metadata if isinstance(mark, Speed)}

    @classmethod
    def speed_fields(cls) -> set[str]:
        """Names of the fields marked `Speed`."""
        return set(cls.speed_marks())

    def effective(self) -> dict[str, Any]:
        """The settings that can change the result: all but those marked `Speed`, or `Later` and at their default.

        In the place of a folder stands the identity of its content, or its name where it is not here.
        """
        values = self.model_dump(exclude=self.speed_fields() | self.unmentioned())
        inner = {name: value for name, value in self if name in values and isinstance(value, Settings)}
        held = {name: self._held_in(name, mark) for name, mark in self.folder_marks().items() if name in values}
        return values | {name: value.effective() for name, value in inner.items()} | held

    @classmethod
    def folder_marks(cls) -> dict[str, Folders]:
        """Names of the fields marked `Folders`, with their marks."""
        fields = cls.model_fields.items()
        return {name: mark for name, info in fields for mark in info.metadata if isinstance(mark, Folders)}

    def folders(self) -> Iterator[tuple[str, Folders]]:
        """Every folder that the settings name, with the mark of its field."""
        for name, mark in self.folder_marks().items():
            value = getattr(self, name)
            yield from ((source, mark) for source in ((value,) if isinstance(value, str) else value or ()))

    def _held_in(self, name: str, mark: Folders) -> Any:
        value = getattr(self, name)
        if value is None or isinstance(value, str):
            return value and mark.content(value)
        return [mark.content(source) for source in value]

    def unmentioned(self) -> set[str]:
        """Names of the fields marked `Later` that say nothing."""
        later = ((name, info) for name, info in type(self).model_fields.items() if LATER in info.metadata)
        return {name for name, info in later if getattr(self, name) == info.get_default()}

    def wraps(self) -> tuple[Settings, ...]:
        """Other methods whose code this one runs: those among its settings.

        A method that makes another one from its settings says so by overriding this.
        """
        return tuple(value for _, value in self if isinstance(value, Settings))

    def identity(self) -> dict[str, Any]:
        """All of the method that decides its result: name, version, settings, and the same of what it wraps."""
        return {
            "name": self.name,
            "version": self.version,
            "settings": self.effective(),
            "wraps": [inner.identity() for inner in self.wraps()],
        }


class OfEditBatch(Settings):
    """What methods and criteria that read the edits share: which of a replicate's edit batches they read."""

    batch: Annotated[int, Field(ge=0), LATER] = 0
    """Which of a replicate's edit batches is read, counted from 0, so that edits can follow each other:
    `memit > memit{batch=1}`. Of R replicates, batch j of replicate k is number k + j·R of the data: they share none."""

    def identity(self) -> dict[str, Any]:
        """Without `batch`: fingerprints of stages and readings hold the edits themselves, whoever's batch they are."""
        identity = super().identity()
        settings = {name: value for name, value in identity["settings"].items() if name != "batch"}
        return identity | {"settings": settings}


def batch_of(method: Settings) -> int:
    """Which of a replicate's edit batches a method or criterion reads: the first where its settings do not say."""
    return method.batch if isinstance(method, OfEditBatch) else 0


def edit_batch_number(replicate: int, batch: int, replicates: int) -> int:
    """Place among all edit batches of the data of a replicate's batch: with one replicate, the batch itself."""
    return replicate + batch * replicates


class _Reader(Protocol):
    parts: ClassVar[frozenset[str]]

    def reads(self) -> frozenset[str]: ...


class Needs:
    """`needs` of a method whose settings decide which parts of the data are read.

    Listings ask the class and get `parts`; plans and fingerprints ask the configured instance.
    """

    def __get__(self, instance: _Reader | None, owner: type[_Reader]) -> frozenset[str]:
        return owner.parts if instance is None else instance.reads()


def settings_error(
    owner: str, error: ValidationError, *, allowed: str | None = None, hint: str | None = None
) -> RequestError:
    """The first problem of a pydantic error in one sentence, with the bad value in it; its `key` is the field's."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        problem = f"{owner}: {name} is missing"
    elif first["type"] == "extra_forbidden":
        problem = f"{owner} has no setting {name!r}"
    else:
        given = f"{name} = {first['input']!r}: " if name else ""
        problem = f"{owner}: {given}{complaint(first)}"
    return RequestError(problem, allowed=allowed, hint=hint, key=first["loc"])


def complaint(fault: Mapping[str, Any]) -> str:
    """What a pydantic fault says, in words of YAML."""
    if fault["type"] in ("tuple_type", "list_type"):
        return f"not a list; one of a single value is [{fault['input']}]"
    return str(fault["msg"]).removeprefix("Value error, ")


def _admits_truth(annotation: Any) -> bool:
    return annotation in (bool, Any) or any(map(_admits_truth, get_args(annotation)))
