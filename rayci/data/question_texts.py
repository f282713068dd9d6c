"""What the question sets share: a question with its answers or options, and the rows that ask nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rayci.data.fields import Unusable, any_text, any_texts, field, index_of, usable_text
from rayci.data.records import Choice, QuestionAnswer


def question_answer(question: str, answers: Sequence[str], kind: str = "") -> QuestionAnswer:
    """The question with the first answer that says something, the others as aliases, each once.

    Unusable where the question, or every answer, is blank.
    """
    said = [answer for answer in dict.fromkeys(answers) if answer.strip()]
    if not said:
        raise Unusable("there is no answer")
    return QuestionAnswer(usable_text(question, "question"), said[0], tuple(said[1:]), kind)


def choice(question: str, options: Sequence[str], answer: int, subject: str = "", topic: str = "") -> Choice:
    """The question with its options; Unusable where it, or one of them, is blank."""
    if not all(option.strip() for option in options):
        raise Unusable("an option is empty")
    return Choice(usable_text(question, "question"), tuple(options), answer, subject, topic)


def listed_choice(row: Any, subject: str = "", topic: str = "", *, count: int | None = None) -> Choice:
    """A row with `question`, `choices` and the index `answer`, of `count` choices, or of two and more."""
    options = any_texts(field(row, "choices"), "choices")
    if len(options) < 2 or count not in (None, len(options)):
        raise ValueError(f"choices is {list(options)!r}, allowed: {count or 'two or more'}")
    answer = index_of(field(row, "answer"), "answer", len(options))
    return choice(any_text(row, "question"), options, answer, subject, topic)
