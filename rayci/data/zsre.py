"""zsRE: questions and answers about relations of entities, in MEND's form and in KnowEdit's.

Prompt `src`, target `alt`, truth `answers[0]`, locality `loc` -> `loc_ans`, as EasyEdit reads them.
Portability is in the split `portability` (EasyEdit's zsre_mend_eval_portability_gpt4.json) and in KnowEdit alone.

`zsre_published` is what the runs of arXiv 2407.06483 read (their `utils/edit_generator.py`): the *train* file,
its rows shuffled by Python's generator seeded with 100; batch k = rows [50(k-1), 50k). Rows that cannot be used
were batched too: here the ones after them move up.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from rayci.data.data_set import Content, DataSet, inside
from rayci.data.edit_texts import edit, one_hop_more
from rayci.data.fields import Unusable, any_text, any_texts, field
from rayci.data.knowedit import known_edit
from rayci.data.records import EditRecord, QuestionAnswer

_QUESTION = "nq question:"


def _read(row: Any, content: Content, part: str) -> EditRecord:
    if isinstance(row, dict) and "target_new" in row:
        return known_edit(row)
    answers = any_texts(field(row, "answers"), "answers")
    if not answers or not answers[0].strip():
        raise Unusable("there is no true answer")
    asked = any_text(row, "loc").removeprefix(_QUESTION).strip()
    answer = any_text(row, "loc_ans").strip()
    rephrase = any_text(row, "rephrase")
    return edit(
        any_text(row, "subject"),
        any_text(row, "src"),
        any_text(row, "alt"),
        answers[0],
        (rephrase,) if rephrase.strip() else (),
        (QuestionAnswer(asked, answer),) if asked and answer else (),
        one_hop_more(row),
    )


def _shuffled(rows: list[Any]) -> list[Any]:
    rows = list(rows)
    random.Random(100).shuffle(rows)
    return rows


_TRAIN = "zsre_mend_train.json"
_EVAL = ("zsre_mend_eval.json", "zsre_mend_edit.json")
_PORTABILITY = "zsre_mend_eval_portability_gpt4.json"
_KNOWEDIT = ("benchmark/ZsRE/ZsRE-test-all.json", "ZsRE-test-all.json")

ZSRE = DataSet(
    name="zsre",
    licence="none named; KnowEdit MIT",
    repository="zjunlp/KnowEdit",
    fetch="zsre_mend_eval.json or zsre_mend_train.json, which EasyEdit's README links to; KnowEdit has another 1 301",
    parts={"edits": "eval"},
    splits={
        "eval": (Content((*_EVAL, _PORTABILITY, *_KNOWEDIT), elsewhere=inside("zsre", *_EVAL)),),
        "portability": (Content((_PORTABILITY, *_KNOWEDIT), elsewhere=inside("portability/One Hop", _PORTABILITY)),),
        "train": (Content((_TRAIN, "zsre_mend_train_10000.json"), elsewhere=inside("zsre", _TRAIN)),),
    },
    read=_read,
)
ZSRE_PUBLISHED = replace(
    ZSRE,
    name="zsre_published",
    licence="none named",
    repository=None,
    fetch="zsre_mend_train.json, which EasyEdit's README links to",
    parts={"edits": "train"},
    splits={"train": (Content((_TRAIN,), elsewhere=inside("zsre", _TRAIN)),)},
    arranged=_shuffled,
)
