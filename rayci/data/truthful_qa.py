"""TruthfulQA: questions that many answer wrongly, with one best answer among several (MC1; arXiv 2109.07958)."""

from __future__ import annotations

from typing import Any

from rayci.data.data_set import Content, DataSet, layout
from rayci.data.fields import any_text, any_texts, as_list, field
from rayci.data.question_texts import choice
from rayci.data.records import Choice


def best_answer(row: Any) -> Choice:
    """The question of a row with its `mc1_targets`; the right option is the one labelled 1, the first in all files."""
    targets = field(row, "mc1_targets")
    options = any_texts(field(targets, "choices"), "mc1_targets.choices")
    labels = as_list(field(targets, "labels"), "mc1_targets.labels")
    if len(labels) != len(options) or len(options) < 2:
        raise ValueError(
            f"mc1_targets has {len(options)} choices and {len(labels)} labels, allowed: as many, two or more"
        )
    if sorted(labels, key=str) != [0] * (len(labels) - 1) + [1]:
        raise ValueError(f"mc1_targets.labels is {labels!r}, allowed: one 1, else 0")
    return choice(any_text(row, "question"), options, labels.index(1))


def _read(row: Any, content: Content, part: str) -> Choice:
    return best_answer(row)


TRUTHFULQA = DataSet(
    name="truthfulqa",
    licence="Apache-2.0",
    repository="truthfulqa/truthful_qa",
    fetch="the folder multiple_choice of truthfulqa/truthful_qa",
    parts={"truthfulqa": "validation"},
    splits={"validation": (Content(layout("multiple_choice/validation", "validation")),)},
    read=_read,
)
