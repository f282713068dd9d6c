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


def folder(path: str) -> Collection:
    """Every `<part>.jsonl` of a folder; parts without a file stay empty."""
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"no data folder {path}", at="data", hint="a folder with edits.jsonl, forget.jsonl, …")
    found = {part: str(root / f"{part}.jsonl") for part in PARTS if (root / f"{part}.jsonl").is_file()}
    if not found:
        raise DataError(
            f"{path} holds none of the data files", at="data", allowed=", ".join(f"{p}.jsonl" for p in PARTS)
        )
    return files(found)


def files(given: Mapping[str, str]) -> Collection:
    """A collection of part -> JSON Lines file."""
    parts: dict[str, tuple[Any, ...]] = {}
    for part, path in given.items():
        if part not in PARTS:
            raise DataError(
                f"no data part {part!r}", at=f"data.{part}", allowed=", ".join(PARTS), hint=nearest(part, PARTS)
            )
        parts[part] = _read(Path(path).expanduser(), _READERS[part])
    return Collection(**parts, sources={part: str(path) for part, path in given.items()})


def _read(path: Path, reader: Callable[[dict[str, Any]], Any]) -> tuple[Any, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(
            f"cannot read the data file: {reason}", at=str(path), hint="JSON Lines, one record a line"
        ) from None
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(reader(json.loads(line)))
        except KeyError as error:
            raise DataError(f"the record has no field {error}", at=f"{path}:{number}") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"the record cannot be read: {error}", at=f"{path}:{number}") from None
    if not records:
        raise DataError("the data file holds no record", at=str(path), hint="JSON Lines, one record a line")
    return tuple(records)


def _text(record: dict[str, Any], key: str) -> str:
    value = record[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} is {value!r}, not a text")
    return value


def _edit(record: dict[str, Any]) -> EditRecord:
    subject, prompt = _text(record, "subject"), _text(record, "prompt")
    if prompt.count(subject) != 1:
        raise ValueError(f"subject {subject!r} must occur exactly once in prompt {prompt!r}")
    return EditRecord(
        subject,
        prompt,
        _text(record, "target_new"),
        _text(record, "ground_truth"),
        tuple(str(text) for text in record.get("rephrases", ())),
        tuple(_question(item) for item in record.get("locality", ())),
    )


def _question(record: dict[str, Any]) -> QuestionAnswer:
    return QuestionAnswer(_text(record, "prompt"), _text(record, "answer"))


def _document(record: dict[str, Any]) -> Document:
    return Document(_text(record, "text"), str(record.get("topic", "")))


def _passage(record: dict[str, Any]) -> Passage:
    return Passage(_text(record, "prompt"), _text(record, "continuation"))


def _choice(record: dict[str, Any]) -> Choice:
    options = tuple(str(option) for option in record["options"])
    answer = record["answer"]
    if not isinstance(answer, int) or not 0 <= answer < len(options):
        raise ValueError(f"answer is {answer!r}, allowed: an index from 0 to {len(options) - 1}")
    return Choice(_text(record, "question"), options, answer)


_READERS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
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
