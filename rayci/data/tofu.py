"""TOFU: questions about authors who were invented, to be forgotten or kept (arXiv 2401.06121).

Forget and retain text is the question with its answer as `Question: …\nAnswer: …`, the form in which TOFU
trains models that have no chat template. The splits named `_perturbed` serve as questions too; their wrong
and paraphrased answers are not read.
"""

from __future__ import annotations

from typing import Any

from rayci.data.data_set import Content, DataSet
from rayci.data.fields import any_text
from rayci.data.question_texts import question_answer
from rayci.data.records import Document, QuestionAnswer

_SHARES = ("01", "05", "10")
_SPLITS = (
    "full",
    *(f"forget{share}" for share in _SHARES),
    *(f"retain{100 - int(share)}" for share in _SHARES),
    *(f"holdout{share}" for share in _SHARES),
    "real_authors",
    "world_facts",
    *(f"forget{share}_perturbed" for share in _SHARES),
    "retain_perturbed",
    "real_authors_perturbed",
    "world_facts_perturbed",
)


def _read(row: Any, content: Content, part: str) -> Document | QuestionAnswer:
    question = question_answer(any_text(row, "question"), [any_text(row, "answer")])
    if part.endswith("_questions"):
        return question
    return Document(f"Question: {question.prompt}\nAnswer: {question.answer}")


TOFU = DataSet(
    name="tofu",
    licence="MIT",
    repository="locuslab/TOFU",
    fetch="forget10.json and retain90.json of locuslab/TOFU",
    parts={"forget": "forget10", "retain": "retain90", "forget_questions": "forget10", "retain_questions": "retain90"},
    splits={split: (Content((f"{split}.json", f"{split}.jsonl")),) for split in _SPLITS},
    read=_read,
)
