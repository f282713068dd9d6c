"""How long the texts of a sweep are, told from its data: what the forecast's operations count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any

from rayci.data.records import PARTS, Collection
from rayci.subject import Subject
from rayci.workload import Texts, token_count

LOOKED_AT = 64
"""Records of a part whose tokens are counted, evenly spread; the others are like them."""


def texts_of(data: Collection, subject: Subject | None = None) -> Texts:
    """Mean lengths and numbers of what there is; what there is not is as long as `Texts` assumes."""
    length = cache(partial(token_count, subject))
    special = 0 if subject is None or not subject.has_tokenizer else len(subject.tokenizer("")["input_ids"])

    def whole(*texts: str) -> int:
        return special + sum(map(length, texts))

    documents = [record.text for part in ("forget", "retain") for record in _some(data.part(part))]
    choices = [record for part in ("hazard", "utility") for record in _some(data.part(part))]
    questions = [record for part in ("forget_questions", "retain_questions") for record in _some(data.part(part))]
    edits = _some(data.part("edits"))
    lengths = {
        "edit": _padded(whole(edit.prompt, f" {edit.target_new}") for edit in edits),
        "target": _mean(length(edit.target_new) for edit in edits),
        "rephrases": _mean(len(edit.rephrases) for edit in edits),
        "locality": _mean(len(edit.locality) for edit in edits),
        "choice": _mean(whole(choice.question, *choice.options) for choice in choices),
        "option": _mean(max(map(length, choice.options)) for choice in choices),
        "question": _padded(whole(question.prompt, question.answer) for question in questions),
        "document": _padded(map(whole, documents)),
        "calibration": _mean(whole(record.text) for record in _some(data.part("calibration"))),
        "evaluation": _total(data.part("evaluation") or data.part("wikitext"), length),
    }
    further = {
        "finetune": _padded(whole(record.text) for record in _some(data.part("finetune"))),
        "finetune_questions": _padded(whole(asked.prompt, asked.answer) for asked in _some(data.finetune_questions)),
    }
    counts = {part: len(data.part(part)) for part in PARTS if data.part(part)}
    return Texts(
        **{name: value for name, value in lengths.items() if value},
        lengths={part: value for part, value in further.items() if value},
        counts=counts,
    )


def _some(records: Sequence[Any]) -> list[Any]:
    return list(records[:: max(len(records) // LOOKED_AT, 1)])


def _mean(lengths: Iterable[int]) -> int:
    """The rounded mean, at least 1; 0 of nothing."""
    values = list(lengths)
    return max(round(sum(values) / len(values)), 1) if values else 0


def _padded(lengths: Iterable[int]) -> int:
    """Of four texts in a batch, which is as long as its longest, the length to expect; 0 of nothing."""
    values = sorted(lengths)
    return values[(4 * len(values)) // 5] if values else 0


def _total(records: Sequence[Any], length: Callable[[str], int]) -> int:
    some = _some(records)
    return round(sum(length(record.text) for record in some) * len(records) / len(some)) if some else 0
