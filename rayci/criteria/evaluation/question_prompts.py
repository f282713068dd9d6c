"""The text of a multiple-choice question: its options listed or not, examples before it, all of it a chat's turn."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rayci.criteria.evaluation.prompting import as_chat
from rayci.criteria.evaluation.question_tokens import Question
from rayci.data.records import Choice
from rayci.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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


def answered(question: Question, answer: int) -> str:
    """An example: the question and its right option, and a blank line."""
    return f"{question.context}{question.options[answer]}\n\n"


@lru_cache(maxsize=16)  # as long as their token ids are kept
def as_turns(tokenizer: PreTrainedTokenizerBase, questions: tuple[Question, ...], /) -> tuple[Question, ...]:
    """Each question as one user's turn; the model's turn begins with the option, without the space (lm-eval).

    A header is part of that turn, where lm-eval makes it one of the system's: not every template has that role.
    """
    return tuple(
        Question(
            as_chat(tokenizer, question.context),
            tuple(option.removeprefix(" ") for option in question.options),
            question.group,
        )
        for question in questions
    )
