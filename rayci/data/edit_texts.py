"""What the editing sets share: a prompt with its subject, and the records that no editor could use."""

from __future__ import annotations

from typing import Any

from rayci.data.fields import Unusable, any_text
from rayci.data.records import EditRecord, QuestionAnswer


def edit(
    subject: str,
    prompt: str,
    target_new: str,
    ground_truth: str,
    rephrases: tuple[str, ...] = (),
    locality: tuple[QuestionAnswer, ...] = (),
    portability: tuple[QuestionAnswer, ...] = (),
) -> EditRecord:
    """The record, its texts without blanks at their ends; Unusable where there is no target or no place of the subject.

    Answers are tokenized with a leading space, so one that brings its own would have two.
    """
    subject, prompt, target_new = subject.strip(), prompt.strip(), target_new.strip()
    if not target_new:
        raise Unusable("the target is empty")
    refuse_unplaced(subject, prompt)
    return EditRecord(subject, prompt, target_new, ground_truth.strip(), rephrases, locality, portability)


def refuse_unplaced(subject: str, prompt: str) -> None:
    """Unusable where the prompt has no place of the subject, or several: editors change what is computed there."""
    if not subject or prompt.count(subject) != 1:
        raise Unusable("the subject is not exactly once in the prompt")


def filled(template: str, subject: str) -> str:
    """A template with `{}` for the subject; ValueError where it has none, or several."""
    if template.count("{}") != 1:
        raise ValueError(f"prompt is {template!r}, not a text with one {{}}")
    return template.replace("{}", subject)


def one_hop_more(row: Any) -> tuple[QuestionAnswer, ...]:
    """What follows from an edit by one relation more, where the row has it: EasyEdit's `portability`."""
    given = row.get("portability")
    if given is None:
        return ()
    question, answer = any_text(given, "New Question").strip(), any_text(given, "New Answer").strip()
    return (QuestionAnswer(question, answer),) if question and answer else ()
