"""The few closed vocabularies that every floor of the house shares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

NUMBER_FORMATS = ("fp8", "mxfp4", "nvfp4", "nf4")
"""Formats whose numbers a quantiser rounds to, by the names that its setting `grid` knows; each decides the bits."""


class Kind(StrEnum):
    """What an intervention does to a model."""

    EDIT = "edit"
    COMPRESS = "compress"
    UNLEARN = "unlearn"
    TRAIN = "train"


class Direction(StrEnum):
    """Which way of a criterion is better; `zero` means the closer to zero, `none` neither."""

    HIGHER = "higher"
    LOWER = "lower"
    ZERO = "zero"
    NONE = "none"


class Status(StrEnum):
    """Whether a row holds a value; anything but `ok` has a reason and no value."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class Keep(StrEnum):
    """Whose weights stay in the stage store: of every stage, of those that several trials go on from, or of none."""

    ALL = "all"
    SHARED = "shared"
    NONE = "none"


class Recompress(StrEnum):
    """What happens to a compressor's work after a later edit or unlearning made weights dense."""

    REFIT = "refit"
    REPROJECT = "reproject"
    NEVER = "never"
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of a criterion: direction, range (None = unbounded), chance level and unit."""

    direction: Direction
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    unit: str = ""
    logarithmic: bool = False
    """Spans decades without an upper end, as perplexities do: areas over γ are those of its natural logarithm."""

    @property
    def width(self) -> float | None:
        """The range's width; None where it is open."""
        return None if self.low is None or self.high is None else self.high - self.low

    @property
    def judges_shares(self) -> bool:
        """Whether values are shares of 1 of which more or less is better."""
        return self.direction is not Direction.NONE and (self.low, self.high) == (0.0, 1.0)


UNIT_INTERVAL = Scale(Direction.HIGHER, 0.0, 1.0, None, "share")
"""Shares of 1 where more is better: F1, exact match, accuracy without a chance level."""
