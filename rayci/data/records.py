"""The one schema of the data that interventions and criteria read, wherever it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from rayci.errors import DataError


@dataclass(frozen=True, slots=True)
class QuestionAnswer:
    """A prompt and its gold answer; the answer is tokenized with a leading space."""

    prompt: str
    answer: str
    aliases: tuple[str, ...] = field(default=(), metadata={"later": True})
    """Other answers that are as right."""
    kind: str = field(default="", metadata={"later": True})
    """What sort of question it is, where a data set asks several sorts: RWKU's `adversarial`."""


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
    portability: tuple[QuestionAnswer, ...] = field(default=(), metadata={"later": True})
    """Questions whose answers follow from the edit, over one hop more or by reasoning."""


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
    """May be empty where a text is only to be recognised."""
    continuation: str

    @property
    def text(self) -> str:
        """The whole passage."""
        return f"{self.prompt}{self.continuation}"


def identity(record: Any) -> dict[str, Any]:
    """The values of a record that are hashed.

    A field marked `later` counts only where it says something: hashes from before it was there stand.
    """
    values = ((own, getattr(record, own.name)) for own in fields(record))
    return {own.name: _plain(value) for own, value in values if value or not own.metadata.get("later")}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    return identity(value) if is_dataclass(value) else value


Documents = Sequence[Document]
"""A tuple, or `rayci.data.mapped_documents` of a large file."""

STANDS_IN: Mapping[str, str] = {"covariance_text": "calibration", "members": "passages"}
"""Part -> the part that is read in its place where it was not supplied."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Everything a sweep can read. A part that is empty was not supplied."""

    edits: tuple[EditRecord, ...] = ()
    forget: Documents = ()
    retain: Documents = ()
    calibration: Documents = ()
    covariance_text: Documents = ()
    """Text of MEMIT's covariances; published: 100 000 documents of Wikipedia."""
    evaluation: Documents = ()
    wikitext: Documents = ()
    """WikiText-2's test split, row by row."""
    hazard: tuple[Choice, ...] = ()
    utility: tuple[Choice, ...] = ()
    passages: tuple[Passage, ...] = ()
    """Passages of the forget topic, for verbatim-memorization criteria."""
    members: Documents = ()
    """Texts of the forget topic that the model was trained on, as long as those of `holdout`."""
    holdout: tuple[Passage, ...] = ()
    """Passages of the same topic that no model was trained on."""
    forget_questions: tuple[QuestionAnswer, ...] = ()
    retain_questions: tuple[QuestionAnswer, ...] = ()
    finetune: Documents = ()
    """Text that a model is trained on further."""
    finetune_questions: tuple[QuestionAnswer, ...] = ()
    """Questions and answers that a model is trained on further."""
    truthfulqa: tuple[Choice, ...] = ()
    triviaqa: tuple[QuestionAnswer, ...] = ()
    prompts: Documents = ()
    """Instructions that a model writes freely about."""
    shots: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Part -> few-shot examples, records of the part's type, in the order in which a prompt gives them."""
    absent_shots: dict[str, str] = field(default_factory=dict, compare=False)
    """Part -> what is to be fetched, where its data set has few-shot examples that are not on this machine."""
    arranged: frozenset[str] = frozenset()
    """Parts that stand in a published order, of which batches are taken as it is."""
    sources: dict[str, str] = field(default_factory=dict, compare=False)
    """Part name -> where it came from, for error messages."""
    commits: dict[str, str] = field(default_factory=dict, compare=False)
    """Part name -> `owner/name@commit` of what came from the hub."""

    def __repr__(self) -> str:
        return f"Collection({', '.join(f'{len(getattr(self, name))} {name}' for name in self.supplied)})"

    def part(self, name: str) -> Sequence[Any]:
        """The records of a part, or of the one that stands in for it."""
        supplied: Sequence[Any] = getattr(self, name)
        return supplied or (getattr(self, STANDS_IN[name]) if name in STANDS_IN else ())

    def examples(self, part: str) -> tuple[Any, ...]:
        """The few-shot examples of a part; DataError where there are some, but not on this machine."""
        if part in self.absent_shots:
            raise DataError(
                f"the few-shot examples of {part} are not on this machine",
                at=self.sources.get(part, part),
                hint=f"{self.absent_shots[part]}; or a file of examples as `shots:` of the part, or `shots: 0`",
            )
        return self.shots.get(part, ())

    @property
    def supplied(self) -> list[str]:
        """Names of the parts that were supplied."""
        return [name for name in PARTS if getattr(self, name)]


PARTS = tuple(own.name for own in fields(Collection) if own.default == ())
"""Names of the parts, in the order in which they are listed."""

TEXTS = frozenset(own.name for own in fields(Collection) if own.type == "Documents")
"""Parts of documents, which may be large."""
