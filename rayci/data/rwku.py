"""RWKU: famous people to forget, with probes of three sorts and of their neighbours (arXiv 2406.10890).

`topics` names people as the column `subject` does; without it all 200 are read. Forget text are the original
passages. `mia_retain` is text about other people that models were trained on too, hence no hold-out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rayci.data.alpaca_eval import instruction
from rayci.data.data_set import Content, DataSet
from rayci.data.fields import any_text, any_texts, field, text, usable_text
from rayci.data.mmlu import question_of
from rayci.data.question_texts import question_answer
from rayci.data.records import Choice, Document, QuestionAnswer
from rayci.data.truthful_qa import best_answer

FILL_IN_BLANK, QUESTION, ADVERSARIAL = "fill_in_blank", "question", "adversarial"
IN_CONTEXT, SUFFIXED = "adversarial in context", "adversarial suffix"
"""Adversarial probes that hold examples, and such that end with how the answer begins: each has its own prompt."""
_KINDS = {"1": FILL_IN_BLANK, "2": QUESTION, "3": ADVERSARIAL}
"""Level of a probe, a text in the files -> kind."""
_OWN_FORMS = {"incontext learning": IN_CONTEXT, "affirmative suffix": SUFFIXED}
"""Type of an adversarial probe -> kind, where it is one of its own."""


def _passage(row: Any) -> Document:
    return Document(usable_text(field(row, "text"), "text"), row["subject"])


def _probe(row: Any) -> QuestionAnswer:
    level = field(row, "level")
    if str(level) not in _KINDS:
        raise ValueError(f"level is {level!r}, allowed: {', '.join(_KINDS)}")
    kind = _KINDS[str(level)]
    if kind == ADVERSARIAL:
        kind = _OWN_FORMS.get(str(row.get("type")), kind)
    return question_answer(any_text(row, "query"), [any_text(row, "answer")], kind)


def _fact(row: Any) -> QuestionAnswer:
    return question_answer(any_text(row, "question"), any_texts(field(row, "answers"), "answers"))


def _general(row: Any) -> Choice:
    return question_of(row, text(row, "task"))


def _prompt(row: Any) -> Document:
    return instruction(row, row["subject"])


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "forget": _passage,
    "members": _passage,
    "forget_questions": _probe,
    "retain_questions": _probe,
    "utility": _general,
    "truthfulqa": best_answer,
    "triviaqa": _fact,
    "prompts": _prompt,
}


def _read(row: Any, content: Content, part: str) -> Any:
    text(row, "subject")
    return _READERS[part](row)


def _files(*stems: str) -> tuple[Content, ...]:
    """On the hub one file for all people; in the authors' copy a folder a person, `Target/1_Some_One`."""
    return tuple(
        Content((f"All/{stem}.json",), elsewhere=(f"Target/*/{stem}.json", f"[0-9]*_*/{stem}.json", f"{stem}.json"))
        for stem in stems
    )


_LEVELS = {
    "forget": ("forget_level1", "forget_level2", "forget_level3"),
    "neighbor": ("neighbor_level1", "neighbor_level2"),
}

RWKU = DataSet(
    name="rwku",
    licence="CC-BY-4.0",
    repository="jinzhuoran/RWKU",
    fetch="the folder All of jinzhuoran/RWKU, or folders of its Target",
    parts={
        "forget": "train_original_passage",
        "members": "mia_forget",
        "forget_questions": "forget",
        "retain_questions": "neighbor",
        "utility": "utility_general",
        "truthfulqa": "utility_truthfulness",
        "triviaqa": "utility_factuality",
        "prompts": "utility_fluency",
    },
    splits={
        "train_original_passage": _files("passage"),
        "mia_forget": _files("forget_mia"),
        **{probes: _files(*levels) for probes, levels in _LEVELS.items()},
        **{level: _files(level) for levels in _LEVELS.values() for level in levels},
        "utility_general": _files("retain_mmlu"),
        "utility_truthfulness": _files("truthful"),
        "utility_factuality": _files("triviaqa"),
        "utility_fluency": _files("fluency"),
    },
    read=_read,
    topic_of=lambda row: str(row["subject"]),
)
