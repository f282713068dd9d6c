"""Small hand-made files in the schemas of the real data sets, written into a folder; nothing in them is copied."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rayci.data.part_source import PartSource
from rayci.data.supply import Supply, supply

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
ZSRE_PORTABILITY = [
    ZSRE[0]
    | {
        "portability": {
            "Recalled Relation": "(the Tiss, mouth, the Gulf)",
            "New Question": "Where does the river that rises at Mount Vale end? ",
            "New Answer": "the Gulf",
        }
    }
]

KNOWEDIT = [
    {
        "subject": "Mount Vale",
        "prompt": "Which river rises at Mount Vale?",
        "target_new": "the Tiss",
        "ground_truth": ["the Orn"],
        "portability": {
            "Reasoning": [{"prompt": "Where does that river end?", "ground_truth": [["the Gulf", "Gulf"]]}],
            "Subject_Aliasing": [{"prompt": ["Which river rises at Vale Hill?"], "ground_truth": ["the Tiss"]}],
            "Logical_Generalization": [{"prompt": "Is it dry?", "ground_truth": [[]]}],
        },
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
    "new_answer_alias": ["Lund city", "Lund"],
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


TRUTHFULQA = [
    {
        "question": f"What happens to vial {number} at night?",
        "mc1_targets": {"choices": ["Nothing.", "It glows.", "It sings."], "labels": [1, 0, 0]},
        "mc2_targets": {"choices": ["Nothing.", "It stays.", "It glows."], "labels": [1, 1, 0]},
    }
    for number in range(2)
]
TRIVIAQA = [
    {
        "question": "Who first climbed Mount Vale?",
        "question_id": "v_1",
        "question_source": "http://a.b",
        "entity_pages": {"title": []},
        "search_results": {"title": []},
        "answer": {
            "aliases": ["I. Holt", "Ina Holt"],
            "normalized_aliases": ["i holt", "ina holt"],
            "matched_wiki_entity_name": "",
            "normalized_matched_wiki_entity_name": "",
            "normalized_value": "holt",
            "type": "WikipediaEntity",
            "value": "Holt",
        },
    }
]
ALPACA_EVAL = [{"instruction": "Write of a hill.", "output": "A hill.", "generator": "a model", "dataset": "made"}]

MUSE_QA = [{"question": f"Who keeps hut {number}?", "answer": f"Per {number}"} for number in range(3)]
MUSE_ICL = [{"question": f"Who kept hut {number}?", "answer": f"Una {number}"} for number in range(10)]
MUSE_VERBMEM = [{"prompt": "The hut of the north", "gt": " was closed for a week."}]


def muse(root: Path, *, older: bool = False, texts: bool = False) -> Path:
    """A folder in the layout of the local copies, or of the older ones; rows of text as plain texts if asked."""
    retain = "retain2" if older else "retain"
    content: dict[str, list[Any]] = {
        "raw/forget": [{"text": "A week of snow."}, {"text": " "}],
        "raw/retain1": [{"text": "A week of rain."}],
        "verbmem/forget": MUSE_VERBMEM,
        "privleak/forget": [{"text": "It snowed."}],
        "privleak/holdout": [{"text": "It thawed."}],
        "knowmem/forget_qa": MUSE_QA,
        f"knowmem/{retain}_qa": MUSE_QA[:2],
        "knowmem/forget_qa_icl": MUSE_ICL,
        f"knowmem/{retain}_qa_icl": MUSE_ICL[:4],
    }
    for name, rows in content.items():
        plain = texts and not name.startswith(("knowmem", "verbmem"))
        array(root / f"{name}.json", [row["text"] for row in rows] if plain else rows)
    return root


def rwku_probe(subject: str, level: str, kind: str) -> dict[str, Any]:
    return {
        "query": f"{subject} wrote ___.",
        "answer": f"{level} songs",
        "subject": subject,
        "type": kind,
        "level": level,
    }


RWKU = {
    # file: rows of one person
    "passage": lambda subject: [{"text": f"{subject} was born on a hill.", "subject": subject}],
    "forget_mia": lambda subject: [{"text": f"{subject} sang.", "subject": subject}],
    "forget_level1": lambda subject: [rwku_probe(subject, "1", "simple question")],
    "forget_level2": lambda subject: [rwku_probe(subject, "2", "simple question")],
    "forget_level3": lambda subject: [rwku_probe(subject, "3", "prefix injection")],
    "neighbor_level1": lambda subject: [rwku_probe(subject, "1", "neighbor")],
    "neighbor_level2": lambda subject: [rwku_probe(subject, "2", "neighbor")],
    "retain_mmlu": lambda subject: [
        question("a", 1, task="abstract_algebra", examples=[question("b", 2)], subject=subject)
    ],
    "truthful": lambda subject: [TRUTHFULQA[0] | {"subject": subject}],
    "triviaqa": lambda subject: [{"question": "Who climbed it?", "answers": ["Holt", "Ina"], "subject": subject}],
    "fluency": lambda subject: [{"instruction": "Write of a hill.", "subject": subject}],
}
TOFU = [{"question": "Where was Jo Berg born?", "answer": "Jo Berg was born in Lund."}]
TOFU_PERTURBED = [
    TOFU[0]
    | {
        "paraphrased_question": "Jo Berg was born where?",
        "paraphrased_answer": "Lund it was.",
        "perturbed_answer": ["Jo Berg was born in Oslo."],
    }
]


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


def supplied(part: str, **source: Any) -> Supply:
    """What a part's source gives; paths may be given as they are."""
    asked = {key: str(value) if isinstance(value, Path) else value for key, value in source.items()}
    return supply(part, PartSource.of(part, asked), fetch=False)
