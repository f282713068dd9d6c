"""The one schema of the data that interventions and criteria read, wherever it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class QuestionAnswer:
    """A prompt and its gold answer; the answer is tokenized with a leading space."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class EditRecord:
    """One fact to edit: `prompt` should continue with `target_new` afterwards."""

    subject: str
    """Occurs exactly once in `prompt`."""
    prompt: str
    target_new: str
    ground_truth: str
    rephrases: tuple[str, ...] = ()
    """All held-out paraphrases of the prompt that the data set has."""
    locality: tuple[QuestionAnswer, ...] = ()
    """Unrelated prompts with gold answers that the edit must not change."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A multiple-choice question; `answer` is the index of the right option."""

    question: str
    options: tuple[str, ...]
    answer: int
    subject: str = field(default="", metadata={"later": True})
    """What the question is about, as a prompt names it: `abstract algebra`."""
    topic: str = field(default="", metadata={"later": True})
    """Group of subjects: `bio`, `stem`."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text; `topic` groups forget texts so that samples can be balanced."""

    text: str
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """A memorised passage: `prompt` to be continued, `continuation` as trained on."""

    prompt: str
    continuation: str


def identity(record: Any) -> dict[str, Any]:
    """The values of a record that are hashed.

    A field marked `later` counts only where it says something: hashes from before it was there stand.
    """
    silent = {own.name for own in fields(record) if own.metadata.get("later") and not getattr(record, own.name)}
    return {name: value for name, value in asdict(record).items() if name not in silent}


STANDS_IN: Mapping[str, str] = {"covariance_text": "calibration"}
"""Part -> the part that is read in its place where it was not supplied."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Everything a sweep can read. A part that is empty was not supplied."""

    edits: tuple[EditRecord, ...] = ()
    forget: tuple[Document, ...] = ()
    retain: tuple[Document, ...] = ()
    calibration: tuple[Document, ...] = ()
    covariance_text: tuple[Document, ...] = ()
    """Text of MEMIT's covariances; published: 100 000 documents of Wikipedia."""
    evaluation: tuple[Document, ...] = ()
    hazard: tuple[Choice, ...] = ()
    utility: tuple[Choice, ...] = ()
    passages: tuple[Passage, ...] = ()
    """Passages of the forget topic, for verbatim-memorization criteria."""
    holdout: tuple[Passage, ...] = ()
    """Passages of the same topic that no model was trained on."""
    forget_questions: tuple[QuestionAnswer, ...] = ()
    retain_questions: tuple[QuestionAnswer, ...] = ()
    sources: dict[str, str] = field(default_factory=dict, compare=False)
    """Part name -> where it came from, for error messages."""
    commits: dict[str, str] = field(default_factory=dict, compare=False)
    """Part name -> `owner/name@commit` of what came from the hub."""

    def __repr__(self) -> str:
        return f"Collection({', '.join(f'{len(getattr(self, name))} {name}' for name in self.supplied)})"

    def part(self, name: str) -> tuple[Any, ...]:
        """The records of a part, or of the one that stands in for it."""
        supplied: tuple[Any, ...] = getattr(self, name)
        return supplied or (getattr(self, STANDS_IN[name]) if name in STANDS_IN else ())

    @property
    def supplied(self) -> list[str]:
        """Names of the parts that were supplied."""
        return [name for name in PARTS if getattr(self, name)]


PARTS = tuple(name for name in Collection.__dataclass_fields__ if name not in ("sources", "commits"))
"""Names of the parts, in the order in which they are listed."""
