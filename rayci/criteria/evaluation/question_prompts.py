"""The text of a multiple-choice question, its options listed or not, and of one that is shown with its answer."""

from __future__ import annotations

from rayci.criteria.evaluation.question_tokens import Question
from rayci.data.records import Choice
from rayci.errors import DataError

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def by_letter(choice: Choice) -> Question:
    """The options listed below the question, and their letters to choose from; DataError for more than 26."""
    if len(choice.options) > len(_LETTERS):
        raise DataError(
            f"question {choice.question[:60]!r} has {len(choice.options)} options",
            allowed=f"{len(_LETTERS)} with scoring: letters",
        )
    letters = _LETTERS[: len(choice.options)]
    listed = "".join(f"\n{letter}. {option}" for letter, option in zip(letters, choice.options, strict=True))
    return Question(f"{choice.question}{listed}\nAnswer:", tuple(f" {letter}" for letter in letters))


def by_text(choice: Choice) -> Question:
    """The question as it stands, and the options' texts to choose from."""
    return Question(choice.question, tuple(f" {option.removeprefix(' ')}" for option in choice.options))


def example(question: Question, answer: int) -> str:
    """The question, its right option, and a blank line."""
    return f"{question.context}{question.options[answer]}\n\n"
