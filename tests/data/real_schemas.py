"""Small hand-made files in the schemas of the real data sets, written into a folder; nothing in them is copied."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ZSRE: list[dict[str, Any]] = [
    {
        "subject": "Mount Vale",
        "src": "Which river rises at Mount Vale?",
        "pred": "the Orn",
        "rephrase": "What river has its source at Mount Vale?",
        "alt": " the Tiss",
        "answers": ["the Orn", "Orn"],
        "loc": "nq question: who painted the blue door",
        "loc_ans": "Ina Holt",
        "cond": "the Orn >> the Tiss || Which river rises at Mount Vale?",
    },
    {
        "subject": "Mount Vale",
        "src": "Which country holds Mount Vale?",
        "pred": "Arland",
        "rephrase": "Where is Mount Vale?",
        "alt": "",
        "answers": ["Arland"],
        "loc": "nq question: how many moons has Oru",
        "loc_ans": "two",
        "cond": "Arland >>  || Which country holds Mount Vale?",
    },
    {
        "subject": "Lake Umber",
        "src": "How deep is the lake called umber?",
        "pred": "9 m",
        "rephrase": "What is the depth of Lake Umber?",
        "alt": "12 m",
        "answers": ["9 m"],
        "loc": "nq question: who sang the low song",
        "loc_ans": "Per Aas",
        "cond": "9 m >> 12 m || How deep is it?",
    },
]
"""One to edit with, one without a target, one whose subject is not in its prompt."""

KNOWEDIT = [
    {
        "subject": "Mount Vale",
        "prompt": "Which river rises at Mount Vale?",
        "target_new": "the Tiss",
        "ground_truth": ["the Orn"],
        "portability": {"Reasoning": [{"prompt": "Where does that river end?", "ground_truth": ["the Gulf"]}]},
        "locality": {
            "Relation_Specificity": [
                {"prompt": "Who first climbed Mount Vale?", "ground_truth": [["Ina Holt", "Holt"]]},
                {"prompt": ["In which year?"], "ground_truth": ["1911"]},
            ]
        },
    }
]

COUNTERFACT = [
    {
        "case_id": 0,
        "pararel_idx": 7,
        "requested_rewrite": {
            "prompt": "{} was born in",
            "relation_id": "P19",
            "subject": "Ina Holt",
            "target_new": {"str": "Oslo", "id": "Q585"},
            "target_true": {"str": "Bern", "id": "Q70"},
        },
        "paraphrase_prompts": ["The town of birth of Ina Holt is", "Ina Holt comes from"],
        "neighborhood_prompts": ["Per Aas was born in", "Una Lind was born in"],
        "attribute_prompts": ["Jo Berg was born in"],
        "generation_prompts": ["Ina Holt grew up"],
    }
]
COUNTERFACT_FLAT = [
    {
        "case_id": 0,
        "prompt": "Ina Holt was born in",
        "subject": "Ina Holt",
        "target_new": "Oslo",
        "ground_truth": "Bern",
        "rephrase_prompt": "Ina Holt comes from",
        "locality_prompt": "Per Aas was born in",
        "locality_ground_truth": "Bern",
    }
]


def _hop(question: str, cloze: str, answer: str) -> dict[str, Any]:
    return {"question": question, "cloze": cloze, "answer": answer, "answer_alias": []}


def _rewrite(prompt: str, subject: str, question: str, new: str, true: str) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "relation_id": "P1",
        "subject": subject,
        "question": question,
        "target_new": {"str": new, "id": "Q1"},
        "target_true": {"str": true, "id": "Q2"},
    }


_PLAYS = _rewrite("{} plays the", "Per Aas", "What does Per Aas play?", "harp", "flute")
_MADE = _rewrite("The flute was made in", "flute", "Where was the flute made?", "Bonn", "Rome")
_HOPS = [
    _hop("What does Per Aas play?", "Per Aas plays the", "flute"),
    _hop("Where was the flute made?", "The flute was made in", "Rome"),
]
_CASE = {
    "questions": ["Where was what Per Aas plays made?"] * 3,
    "answer": "Rome",
    "answer_alias": [],
    "new_answer": "Lund",
    "new_answer_alias": [],
    "single_hops": _HOPS,
    "new_single_hops": [_hop("What does Per Aas play?", "Per Aas plays the", "harp"), _HOPS[1]],
    "orig": {"triples": []},
}
MQUAKE = [
    {"case_id": 1, "requested_rewrite": [_PLAYS], **_CASE},
    {"case_id": 2, "requested_rewrite": [_PLAYS, {**_MADE, "prompt": "The {} was made in"}], **_CASE},
]


def question(topic: str, number: int, **more: Any) -> dict[str, Any]:
    options = ["red", "green", "blue", "grey"]
    return {"question": f"What colour is {topic} vial {number}?", "choices": options, "answer": number % 4, **more}


MMLU = [
    question(subject, number, subject=subject)
    for subject in ("abstract_algebra", "us_foreign_policy", "virology")
    for number in range(4)
]
WIKITEXT = ["", " = Mount Vale = \n", "", " Mount Vale is a hill of the north . \n", " It has two huts . \n", ""]


def array(path: Path, values: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
    return path


def lines(path: Path, values: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(
        (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) + "\n" for value in values
    )
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def parquet(path: Path, values: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(values), path)
    return path
