"""KnowEdit's form of an edit: `prompt`, `target_new`, and kinds of questions that it must and must not change.

`locality` and `portability` map a kind (`Reasoning`, `Subject_Aliasing`, …) to questions; a prompt, and the true
answers of one, are a text, a list of texts or a list of lists (arXiv 2401.01286).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rayci.data.edit_texts import edit
from rayci.data.fields import any_text, as_list, field, whole_text
from rayci.data.question_texts import question_answer
from rayci.data.records import EditRecord, QuestionAnswer


def known_edit(row: Any) -> EditRecord:
    """The edit of a row, with the first answer of each question of its locality, and all of its portability."""
    truth = next(iter(_texts(row.get("ground_truth") or "", "ground_truth")), "")
    locality = tuple(QuestionAnswer(asked, answers[0]) for _, asked, answers in _pairs(row, "locality"))
    portability = tuple(question_answer(asked, answers, kind) for kind, asked, answers in _pairs(row, "portability"))
    return edit(
        any_text(row, "subject"), any_text(row, "prompt"), any_text(row, "target_new"), truth, (), locality, portability
    )


def _pairs(row: Any, key: str) -> Iterator[tuple[str, str, list[str]]]:
    """(kind, question, answers) of a field that is absent, or maps kinds to lists of questions; blank ones left out."""
    given = row.get(key) or {}
    if not isinstance(given, dict):
        raise ValueError(f"{key} is {given!r}, not a mapping")
    for kind in sorted(given):
        name = f"{key}.{kind}"
        for item in as_list(given[kind] or [], name):
            asked = _texts(field(item, "prompt"), f"{name}.prompt")
            answers = _texts(field(item, "ground_truth"), f"{name}.ground_truth")
            if asked and answers:
                yield kind, asked[0], answers


def _texts(value: Any, name: str) -> list[str]:
    """The texts that say something: of a text, of a list of them, or of a list of lists."""
    if isinstance(value, list):
        return [text for item in value for text in _texts(item, name)]
    text = whole_text(value, name).strip()
    return [text] if text else []
