"""CounterFact: false facts about real entities, in ROME's form and in EasyEdit's flat one.

What follows from an edit is asked for in the split `portability` alone, EasyEdit's counterfact_portability_gpt4.json
in ROME's form, which need not have paraphrases and neighbours. `counterfact_published` is what the runs of
arXiv 2407.06483 read: `counterfact-edit.json` in the order of the file.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rayci.data.data_set import Content, DataSet, inside, layout
from rayci.data.edit_texts import edit, filled, one_hop_more
from rayci.data.fields import as_texts, field, text
from rayci.data.records import EditRecord, QuestionAnswer


def _read(row: Any, content: Content, part: str) -> EditRecord:
    if isinstance(row, dict) and "requested_rewrite" not in row and "target_new" in row:
        return _flat(row)
    rewrite = field(row, "requested_rewrite")
    subject, truth = text(rewrite, "subject"), text(field(rewrite, "target_true"), "str")
    portability = one_hop_more(row)
    neighbours = _prompts(row, "neighborhood_prompts", bool(portability))
    return edit(
        subject,
        filled(text(rewrite, "prompt"), subject),
        text(field(rewrite, "target_new"), "str"),
        truth,
        _prompts(row, "paraphrase_prompts", bool(portability)),
        tuple(QuestionAnswer(prompt, truth) for prompt in neighbours),  # other subjects of the same true object
        portability,
    )


def _prompts(row: Any, key: str, optional: bool) -> tuple[str, ...]:
    return () if optional and key not in row else as_texts(field(row, key), key)


def _flat(row: Any) -> EditRecord:
    locality = QuestionAnswer(text(row, "locality_prompt"), text(row, "locality_ground_truth"))
    subject, prompt = text(row, "subject"), text(row, "prompt")
    rephrases = (text(row, "rephrase_prompt"),)
    return edit(subject, prompt, text(row, "target_new"), text(row, "ground_truth"), rephrases, (locality,))


def _files(*names: str, before: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> Content:
    return Content((*before, *names, *after), elsewhere=inside("counterfact", *names))


_PORTABILITY = "counterfact_portability_gpt4.json"

COUNTERFACT = DataSet(
    name="counterfact",
    licence="MIT",
    repository="azhx/counterfact",
    fetch="counterfact.json of ROME (rome.baulab.info), or EasyEdit's counterfact-{train,val,edit}.json",
    parts={"edits": "train"},
    splits={
        "train": (
            _files("counterfact.json", "counterfact-train.json", before=layout("data/train"), after=layout("train")),
        ),
        "test": (_files("counterfact-val.json", before=layout("data/test"), after=layout("test")),),
        "edit": (_files("counterfact-edit.json"),),
        "portability": (Content((_PORTABILITY,), elsewhere=inside("portability/One Hop", _PORTABILITY)),),
    },
    read=_read,
)
COUNTERFACT_PUBLISHED = replace(
    COUNTERFACT, name="counterfact_published", repository=None, parts={"edits": "edit"}, arranged=list
)
"""In the order of the file."""
