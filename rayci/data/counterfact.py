"""CounterFact: false facts about real entities, in ROME's form and in EasyEdit's flat one.

It asks for nothing that follows from an edit: its records have no portability. `counterfact_published` is what
the runs of arXiv 2407.06483 read: `counterfact-edit.json` in the order of the file.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rayci.data.data_set import Content, DataSet, layout
from rayci.data.edit_texts import edit, filled
from rayci.data.fields import as_texts, field, text
from rayci.data.records import EditRecord, QuestionAnswer


def _read(row: Any, content: Content, part: str) -> EditRecord:
    if isinstance(row, dict) and "requested_rewrite" not in row and "target_new" in row:
        return _flat(row)
    rewrite = field(row, "requested_rewrite")
    subject, truth = text(rewrite, "subject"), text(field(rewrite, "target_true"), "str")
    neighbours = as_texts(field(row, "neighborhood_prompts"), "neighborhood_prompts")
    return edit(
        subject,
        filled(text(rewrite, "prompt"), subject),
        text(field(rewrite, "target_new"), "str"),
        truth,
        as_texts(field(row, "paraphrase_prompts"), "paraphrase_prompts"),
        tuple(QuestionAnswer(prompt, truth) for prompt in neighbours),  # other subjects of the same true object
    )


def _flat(row: Any) -> EditRecord:
    locality = QuestionAnswer(text(row, "locality_prompt"), text(row, "locality_ground_truth"))
    subject, prompt = text(row, "subject"), text(row, "prompt")
    rephrases = (text(row, "rephrase_prompt"),)
    return edit(subject, prompt, text(row, "target_new"), text(row, "ground_truth"), rephrases, (locality,))


COUNTERFACT = DataSet(
    name="counterfact",
    licence="MIT",
    repository="azhx/counterfact",
    fetch="counterfact.json of ROME (rome.baulab.info), or EasyEdit's counterfact-{train,val,edit}.json",
    parts={"edits": "train"},
    splits={
        "train": (Content((*layout("data/train"), "counterfact.json", "counterfact-train.json", *layout("train"))),),
        "test": (Content((*layout("data/test"), "counterfact-val.json", *layout("test"))),),
        "edit": (Content(("counterfact-edit.json",)),),
    },
    read=_read,
)
COUNTERFACT_PUBLISHED = replace(
    COUNTERFACT, name="counterfact_published", repository=None, parts={"edits": "edit"}, arranged=list
)
"""In the order of the file."""
