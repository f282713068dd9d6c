"""zsRE: questions and answers about relations of entities, in MEND's form and in KnowEdit's.

Prompt `src`, target `alt`, truth `answers[0]`, locality `loc` -> `loc_ans`, as EasyEdit reads them.
The runs of arXiv 2407.06483 read the *train* file: `{source: zsre, split: train}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rayci.data.data_set import Content, DataSet
from rayci.data.edit_texts import edit
from rayci.data.fields import Unusable, any_text, as_list, as_text, as_texts, field, text
from rayci.data.records import EditRecord, QuestionAnswer

_QUESTION = "nq question:"


def _read(row: Any, content: Content, part: str) -> EditRecord:
    if isinstance(row, dict) and "target_new" in row:
        return _knowedit(row)
    answers = as_texts(field(row, "answers"), "answers")
    if not answers:
        raise Unusable("there is no true answer")
    asked = any_text(row, "loc").removeprefix(_QUESTION).strip()
    answer = any_text(row, "loc_ans").strip()
    return edit(
        text(row, "subject"),
        text(row, "src"),
        any_text(row, "alt"),
        answers[0],
        (text(row, "rephrase"),),
        (QuestionAnswer(asked, answer),) if asked and answer else (),
    )


def _knowedit(row: Any) -> EditRecord:
    truth = _first(row.get("ground_truth") or "", "ground_truth")
    locality = row.get("locality") or {}
    if not isinstance(locality, dict):
        raise ValueError(f"locality is {locality!r}, not a mapping")
    asked = (pair for kind in sorted(locality) for pair in _pairs(locality[kind], f"locality.{kind}"))
    return edit(text(row, "subject"), text(row, "prompt"), any_text(row, "target_new"), truth, (), tuple(asked))


def _pairs(items: Any, name: str) -> Iterator[QuestionAnswer]:
    for item in as_list(items or [], name):
        prompt = _first(field(item, "prompt"), f"{name}.prompt")
        answer = _first(field(item, "ground_truth"), f"{name}.ground_truth")
        if prompt and answer:
            yield QuestionAnswer(prompt, answer)


def _first(value: Any, name: str) -> str:
    """A text, or the first of a list, or of a list of lists."""
    while isinstance(value, list):
        value = value[0] if value else ""
    return as_text(value, name).strip() if value != "" else ""


ZSRE = DataSet(
    name="zsre",
    licence="none named; KnowEdit MIT",
    repository="zjunlp/KnowEdit",
    fetch="zsre_mend_eval.json or zsre_mend_train.json, which EasyEdit's README links to; KnowEdit has another 1 301",
    parts={"edits": "eval"},
    splits={
        "eval": (
            Content(
                (
                    "zsre_mend_eval.json",
                    "zsre_mend_eval_portability_gpt4.json",
                    "benchmark/ZsRE/ZsRE-test-all.json",
                    "ZsRE-test-all.json",
                )
            ),
        ),
        "train": (Content(("zsre_mend_train.json", "zsre_mend_train_10000.json")),),
    },
    read=_read,
)
