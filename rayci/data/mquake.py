"""MQuAKE-CF: edits whose consequences are asked for over several hops.

A record that edits several facts is left out: with one of them applied, its answer is out of reach.
Locality is what the other hops of the question say, which the edit must not change; the hop that is
edited is the old fact, and asking for it would call a successful edit damage.
"""

from __future__ import annotations

from typing import Any

from rayci.data.data_set import Content, DataSet
from rayci.data.edit_texts import edit, filled
from rayci.data.fields import Unusable, as_list, field, text
from rayci.data.records import EditRecord, QuestionAnswer


def _read(row: Any, content: Content, part: str) -> EditRecord:
    rewrites = as_list(field(row, "requested_rewrite"), "requested_rewrite")
    hops = as_list(field(row, "single_hops"), "single_hops")
    subjects = [text(rewrite, "subject") for rewrite in rewrites]
    if len(rewrites) != 1:
        raise Unusable("it edits several facts at once")
    (rewrite,), (subject,) = rewrites, subjects
    question = text(rewrite, "question")
    prompt = filled(text(rewrite, "prompt"), subject)
    others = [hop for hop in hops if text(hop, "question") != question and text(hop, "cloze") != prompt]
    return edit(
        subject,
        prompt,
        text(field(rewrite, "target_new"), "str"),
        text(field(rewrite, "target_true"), "str"),
        (question,),
        tuple(QuestionAnswer(text(hop, "cloze"), text(hop, "answer")) for hop in others),
    )


MQUAKE = DataSet(
    name="mquake",
    licence="MIT",
    repository=None,
    fetch="MQuAKE-CF-3k-v2.json (or MQuAKE-CF.json, MQuAKE-CF-3k.json, MQuAKE-T.json) of princeton-nlp/MQuAKE",
    parts={"edits": "CF-3k-v2"},
    splits={split: (Content((f"MQuAKE-{split}.json",)),) for split in ("CF-3k-v2", "CF-3k", "CF", "T")},
    read=_read,
)
