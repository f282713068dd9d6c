"""WMDP: questions that stand in for hazardous knowledge, and the corpora to unlearn and to keep.

The questions were revised on 2024-04-23; which release a file is of shows in their number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rayci.data.data_set import Content, DataSet, layout
from rayci.data.fields import field, usable_text
from rayci.data.question_texts import listed_choice
from rayci.data.records import Choice, Document

SUBJECTS = {"bio": "biology", "cyber": "cybersecurity", "chem": "chemistry"}
"""Topic -> how a prompt names it."""
_TOPICS = ("bio", "cyber")
"""The topics that the literature reports."""

_COUNTS = {
    "first release": {"bio": 1520, "cyber": 2225, "chem": 412},
    "release of 2024-04-23": {"bio": 1273, "cyber": 1987, "chem": 408},
}
"""Release -> questions by topic."""


def _release(questions: Sequence[Choice]) -> str:
    counts = Counter(question.topic for question in questions)
    return next((name for name, known in _COUNTS.items() if counts.items() <= known.items()), "")


def _question(row: Any, content: Content, part: str) -> Choice:
    return listed_choice(row, SUBJECTS.get(content.topic, ""), content.topic)


def _document(row: Any, content: Content, part: str) -> Document:
    """A row with `text`, a JSON string, or a plain line: the corpora come in all three."""
    return Document(usable_text(row if isinstance(row, str) else field(row, "text"), "text"), content.topic)


WMDP = DataSet(
    name="wmdp",
    licence="MIT",
    repository="cais/wmdp",
    fetch="wmdp-bio, wmdp-cyber and wmdp-chem of cais/wmdp",
    parts={"hazard": "test"},
    splits={
        "test": tuple(
            Content((*layout(f"wmdp-{topic}/test", f"wmdp-{topic}"), f"{topic}_questions.json"), topic)
            for topic in SUBJECTS
        )
    },
    read=_question,
    topics=_TOPICS,
    release=_release,
)


def _corpus(config: str, *others: str, repository: str | None = None, gate: str | None = None) -> Content:
    topic = config.partition("-")[0]
    return Content((*layout(f"{config}/train", config), *others), topic, repository, gate)


WMDP_CORPORA = DataSet(
    name="wmdp_corpora",
    licence="MIT",
    repository="cais/wmdp-corpora",
    fetch="{bio,cyber}-{forget,retain}-corpus.jsonl; bio-forget after its form (bio_remove_dataset.jsonl)",
    parts={"forget": "forget", "retain": "retain"},
    splits={
        "forget": (
            _corpus(
                "bio-forget-corpus",
                "bio_remove_dataset.jsonl",
                "data/train-*.parquet",
                repository="cais/wmdp-bio-forget-corpus",
                gate="a form of its authors, then accept the conditions on its hub page",
            ),
            _corpus("cyber-forget-corpus"),
        ),
        "retain": (_corpus("bio-retain-corpus"), _corpus("cyber-retain-corpus")),
    },
    read=_document,
    topics=_TOPICS,
    plain_lines=True,
)
