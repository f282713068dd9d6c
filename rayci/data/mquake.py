"""MQuAKE-CF: edits whose consequences are asked for over several hops.

A record that edits several facts is left out: with one of them applied, its answer is out of reach.
The questions that ask for it are the portability of a record with one edit.
Locality is what the other hops of the question say, which the edit must not change; the hop that is
edited is the old fact, and asking for it would call a successful edit damage.

`mquake_published` is what the runs of arXiv 2407.06483 read: MQuAKE-CF-3k in the order of the file, of every
record the first edit alone, and as locality the first hop, which mostly is the old fact.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rayci.data.data_set import Content, DataSet
from rayci.data.edit_texts import edit, filled
from rayci.data.fields import Unusable, any_texts, as_list, as_texts, field, text
from rayci.data.question_texts import question_answer
from rayci.data.records import EditRecord, QuestionAnswer


def _read(row: Any, content: Content, part: str) -> EditRecord:
    rewrites, hops = _rewrites(row), as_list(field(row, "single_hops"), "single_hops")
    if len(rewrites) != 1:
        raise Unusable("it edits several facts at once")
    question, prompt = text(rewrites[0], "question"), _prompt(rewrites[0])
    others = [hop for hop in hops if text(hop, "question") != question and text(hop, "cloze") != prompt]
    locality = tuple(QuestionAnswer(text(hop, "cloze"), text(hop, "answer")) for hop in others)
    answers = (text(row, "new_answer"), *any_texts(field(row, "new_answer_alias"), "new_answer_alias"))
    asked = as_texts(field(row, "questions"), "questions")
    return _edited(rewrites[0], locality, tuple(question_answer(question, answers) for question in asked))


def _published(row: Any, content: Content, part: str) -> EditRecord:
    rewrites, hops = _rewrites(row), as_list(field(row, "single_hops"), "single_hops")
    return _edited(rewrites[0], tuple(QuestionAnswer(text(hop, "question"), text(hop, "answer")) for hop in hops[:1]))


def _rewrites(row: Any) -> list[Any]:
    rewrites = as_list(field(row, "requested_rewrite"), "requested_rewrite")
    for rewrite in rewrites:
        text(rewrite, "subject")
    if not rewrites:
        raise Unusable("it edits nothing")
    return rewrites


def _prompt(rewrite: Any) -> str:
    return filled(text(rewrite, "prompt"), text(rewrite, "subject"))


def _edited(
    rewrite: Any, locality: tuple[QuestionAnswer, ...], portability: tuple[QuestionAnswer, ...] = ()
) -> EditRecord:
    return edit(
        text(rewrite, "subject"),
        _prompt(rewrite),
        text(field(rewrite, "target_new"), "str"),
        text(field(rewrite, "target_true"), "str"),
        (text(rewrite, "question"),),
        locality,
        portability,
    )


MQUAKE = DataSet(
    name="mquake",
    licence="MIT",
    repository=None,
    fetch="MQuAKE-CF-3k-v2.json (or MQuAKE-CF.json, MQuAKE-CF-3k.json, MQuAKE-T.json) of princeton-nlp/MQuAKE",
    parts={"edits": "CF-3k-v2"},
    splits={
        split: (
            Content(
                (f"MQuAKE-{split}.json",), elsewhere=(f"datasets/MQuAKE-{split}.json", f"MQuAKE/MQuAKE-{split}.json")
            ),
        )
        for split in ("CF-3k-v2", "CF-3k", "CF", "T")
    },
    read=_read,
)
MQUAKE_PUBLISHED = replace(MQUAKE, name="mquake_published", parts={"edits": "CF-3k"}, read=_published, arranged=list)
"""In the order of the file."""
