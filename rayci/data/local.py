"""JSON Lines files to records: one record a line, one file a part.

| part | fields of a line |
|---|---|
| edits | subject, prompt, target_new, ground_truth, rephrases [text], locality [{prompt, answer}] |
| forget, retain, calibration, covariance_text, evaluation | text, topic (optional) |
| hazard, utility | question, options [text], answer (index) |
| passages, holdout | prompt, continuation |
| forget_questions, retain_questions | prompt, answer |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rayci.data.records import Choice, Collection, Document, EditRecord, Passage, QuestionAnswer
from rayci.errors import DataError, nearest
from rayci.storage.user_paths import path_of, read_text

PARTS = (
    "edits",
    "forget",
    "retain",
    "calibration",
    "covariance_text",
    "evaluation",
    "hazard",
    "utility",
    "passages",
    "holdout",
    "forget_questions",
    "retain_questions",
)
MAX_BYTES = 1 << 30
"""A part is read into memory as a whole."""
_LINES = "JSON Lines, one record a line"


def folder(path: str) -> Collection:
    """Every `<part>.jsonl` of a folder; parts without a file stay empty."""
    root = path_of(path, "data")
    if not root.is_dir():
        raise DataError(f"no data folder {path}", at="data", hint="a folder with edits.jsonl, forget.jsonl, …")
    paths = {part: str(root / f"{part}.jsonl") for part in PARTS if (root / f"{part}.jsonl").exists()}
    if not paths:
        raise DataError(
            f"{path} holds none of the data files", at="data", allowed=", ".join(f"{p}.jsonl" for p in PARTS)
        )
    return files(paths)


def files(paths: Mapping[str, str]) -> Collection:
    """A collection of part -> JSON Lines file."""
    parts: dict[str, tuple[Any, ...]] = {}
    for part, path in paths.items():
        if part not in PARTS:
            raise DataError(
                f"no data part {part!r}", at=f"data.{part}", allowed=", ".join(PARTS), hint=nearest(part, PARTS)
            )
        parts[part] = _read(path_of(path, f"data.{part}"), _READERS[part])
    return Collection(**parts, sources=dict(paths))


def _read(path: Path, reader: Callable[[Any], Any]) -> tuple[Any, ...]:
    text = read_text(path, MAX_BYTES, "the data file", _LINES, DataError)
    records = []
    for number, line in enumerate(text.split("\n"), start=1):  # not at U+2028, which JSON may hold
        if not line.strip():
            continue
        try:
            records.append(reader(json.loads(line)))
        except RecursionError:
            raise DataError("the record cannot be read: too deeply nested", at=f"{path}:{number}") from None
        except ValueError as error:
            raise DataError(f"the record cannot be read: {error}", at=f"{path}:{number}") from None
    if not records:
        raise DataError("the data file holds no record", at=str(path), hint=_LINES)
    return tuple(records)


def _field(record: Any, key: str) -> Any:
    if not isinstance(record, dict):
        raise ValueError(f"{record!r} is no record, which is a mapping")
    if key not in record:
        raise ValueError(f"it has no field {key!r}")
    return record[key]


def _text(record: Any, key: str) -> str:
    return _as_text(_field(record, key), key)


def _as_text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} is {value!r}, not a text")
    value.encode()  # half of a surrogate pair is a ValueError: no tokenizer can read it
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name} is {value!r}, not a list")
    return value


def _texts(value: Any, name: str) -> tuple[str, ...]:
    return tuple(_as_text(item, f"{name}[{index}]") for index, item in enumerate(_list(value, name)))


def _edit(record: Any) -> EditRecord:
    subject, prompt = _text(record, "subject"), _text(record, "prompt")
    if prompt.count(subject) != 1:
        raise ValueError(f"subject {subject!r} must occur exactly once in prompt {prompt!r}")
    return EditRecord(
        subject,
        prompt,
        _text(record, "target_new"),
        _text(record, "ground_truth"),
        _texts(record.get("rephrases", []), "rephrases"),
        tuple(_question(item) for item in _list(record.get("locality", []), "locality")),
    )


def _question(record: Any) -> QuestionAnswer:
    return QuestionAnswer(_text(record, "prompt"), _text(record, "answer"))


def _document(record: Any) -> Document:
    text = _text(record, "text")
    return Document(text, _as_text(record["topic"], "topic") if record.get("topic", "") != "" else "")


def _passage(record: Any) -> Passage:
    return Passage(_text(record, "prompt"), _text(record, "continuation"))


def _choice(record: Any) -> Choice:
    question, options, answer = _text(record, "question"), _field(record, "options"), _field(record, "answer")
    texts = _texts(options, "options")
    if len(texts) < 2:
        raise ValueError(f"options is {options!r}, allowed: two or more")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(texts):
        raise ValueError(f"answer is {answer!r}, allowed: an index from 0 to {len(texts) - 1}")
    return Choice(question, texts, answer)


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
