"""The project's own schema: one record a line or row, one file a part.

| part | fields of a record |
|---|---|
| edits | subject, prompt, target_new, ground_truth, rephrases [text], locality [{prompt, answer}] |
| forget, retain, calibration, covariance_text, evaluation | text, topic (optional) |
| hazard, utility | question, options [text], answer (index) |
| passages, holdout | prompt, continuation |
| forget_questions, retain_questions | prompt, answer |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rayci.data.data_set import Content, DataSet, layout
from rayci.data.fields import as_list, as_text, as_texts, field, index_of, text
from rayci.data.records import PARTS, Choice, Document, EditRecord, Passage, QuestionAnswer


def _edit(record: Any) -> EditRecord:
    subject, prompt = text(record, "subject"), text(record, "prompt")
    if prompt.count(subject) != 1:
        raise ValueError(f"subject {subject!r} must occur exactly once in prompt {prompt!r}")
    return EditRecord(
        subject,
        prompt,
        text(record, "target_new"),
        text(record, "ground_truth"),
        as_texts(record.get("rephrases", []), "rephrases"),
        tuple(_question(item) for item in as_list(record.get("locality", []), "locality")),
    )


def _question(record: Any) -> QuestionAnswer:
    return QuestionAnswer(text(record, "prompt"), text(record, "answer"))


def _document(record: Any) -> Document:
    own = text(record, "text")
    return Document(own, as_text(record["topic"], "topic") if record.get("topic", "") != "" else "")


def _passage(record: Any) -> Passage:
    return Passage(text(record, "prompt"), text(record, "continuation"))


def _choice(record: Any) -> Choice:
    question, options, answer = text(record, "question"), field(record, "options"), field(record, "answer")
    texts = as_texts(options, "options")
    if len(texts) < 2:
        raise ValueError(f"options is {options!r}, allowed: two or more")
    return Choice(question, texts, index_of(answer, "answer", len(texts)))


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "edits": _edit,
    "forget": _document,
    "retain": _document,
    "calibration": _document,
    "covariance_text": _document,
    "evaluation": _document,
    "hazard": _choice,
    "utility": _choice,
    "passages": _passage,
    "holdout": _passage,
    "forget_questions": _question,
    "retain_questions": _question,
}


def _read(row: Any, content: Content, part: str) -> Any:
    return _READERS[part](row)


RECORDS = DataSet(
    name="records",
    licence="your own",
    repository=None,
    fetch="a file in the schema of rayci/data/local.py",
    parts={part: part for part in PARTS},
    splits={part: (Content((f"{part}.jsonl", *layout(part, f"data/{part}"))),) for part in PARTS},
    read=_read,
)
