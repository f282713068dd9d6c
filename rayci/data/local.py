"""The project's own schema: one record a line or row, one file a part.

| part | fields of a record |
|---|---|
| edits | subject, prompt, target_new, ground_truth, rephrases [text], locality, portability [{prompt, answer}] |
| forget, retain, calibration, covariance_text, evaluation, wikitext, members | text, topic (optional) |
| finetune, prompts | text, topic (optional) |
| hazard, utility, truthfulqa | question, options [text], answer (index), subject, topic (optional both) |
| passages, holdout | prompt (may be empty), continuation |
| forget_questions, retain_questions, triviaqa | prompt, answer, aliases [text], kind (optional both) |
| finetune_questions | prompt, answer, aliases [text], kind (optional both) |

An edit whose subject does not stand exactly once in its prompt is left out. Texts of `wikitext` may be empty.
Few-shot examples of a part lie beside it in `<part>_shots.jsonl`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rayci.data.data_set import Content, DataSet, layout
from rayci.data.edit_texts import refuse_unplaced
from rayci.data.fields import any_text, as_list, as_text, as_texts, field, index_of, text
from rayci.data.records import PARTS, Choice, Document, EditRecord, Passage, QuestionAnswer


def _edit(record: Any) -> EditRecord:
    edit = EditRecord(
        text(record, "subject"),
        text(record, "prompt"),
        text(record, "target_new"),
        text(record, "ground_truth"),
        as_texts(record.get("rephrases", []), "rephrases"),
        tuple(_question(item) for item in as_list(record.get("locality", []), "locality")),
        tuple(_question(item) for item in as_list(record.get("portability", []), "portability")),
    )
    refuse_unplaced(edit.subject, edit.prompt)
    return edit


def _question(record: Any) -> QuestionAnswer:
    prompt, answer = text(record, "prompt"), text(record, "answer")
    return QuestionAnswer(prompt, answer, as_texts(record.get("aliases", []), "aliases"), _optional(record, "kind"))


def _document(record: Any) -> Document:
    own = text(record, "text")
    return Document(own, _optional(record, "topic"))


def _row(record: Any) -> Document:
    return Document(any_text(record, "text"), _optional(record, "topic"))


def _optional(record: Any, key: str) -> str:
    return as_text(record[key], key) if record.get(key, "") != "" else ""


def _passage(record: Any) -> Passage:
    return Passage(any_text(record, "prompt"), text(record, "continuation"))


def _choice(record: Any) -> Choice:
    question, options, answer = text(record, "question"), field(record, "options"), field(record, "answer")
    texts = as_texts(options, "options")
    if len(texts) < 2:
        raise ValueError(f"options is {options!r}, allowed: two or more")
    index = index_of(answer, "answer", len(texts))
    return Choice(question, texts, index, _optional(record, "subject"), _optional(record, "topic"))


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "edits": _edit,
    "forget": _document,
    "retain": _document,
    "calibration": _document,
    "covariance_text": _document,
    "evaluation": _document,
    "wikitext": _row,
    "hazard": _choice,
    "utility": _choice,
    "passages": _passage,
    "members": _document,
    "holdout": _passage,
    "forget_questions": _question,
    "retain_questions": _question,
    "finetune": _document,
    "finetune_questions": _question,
    "truthfulqa": _choice,
    "triviaqa": _question,
    "prompts": _document,
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
