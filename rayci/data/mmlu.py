"""MMLU: four-choice questions of 57 subjects in four topics (arXiv 2009.03300)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rayci.data.data_set import Content, DataSet, layout
from rayci.data.fields import text
from rayci.data.question_texts import listed_choice
from rayci.data.records import Choice

_BY_TOPIC = {
    "stem": "abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science "
    "college_mathematics college_physics computer_security conceptual_physics electrical_engineering "
    "elementary_mathematics high_school_biology high_school_chemistry high_school_computer_science "
    "high_school_mathematics high_school_physics high_school_statistics machine_learning",
    "humanities": "formal_logic high_school_european_history high_school_us_history high_school_world_history "
    "international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory "
    "professional_law world_religions",
    "social sciences": "econometrics high_school_geography high_school_government_and_politics "
    "high_school_macroeconomics high_school_microeconomics high_school_psychology human_sexuality "
    "professional_psychology public_relations security_studies sociology us_foreign_policy",
    "other": "business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing "
    "medical_genetics miscellaneous nutrition professional_accounting professional_medicine virology",
}
TOPIC_OF: Mapping[str, str] = {subject: topic for topic, listed in _BY_TOPIC.items() for subject in listed.split()}
"""Subject, as the files name it -> topic."""


def question_of(row: Any, subject: str) -> Choice:
    """A row's question, the subject named as the files do; ValueError where it is none of MMLU's."""
    if subject not in TOPIC_OF:
        raise ValueError(f"subject is {subject!r}, none of MMLU's {len(TOPIC_OF)}")
    choice = listed_choice(row, subject.replace("_", " "), TOPIC_OF[subject], count=4)
    return replace(choice, question=choice.question.strip())


def _read(row: Any, content: Content, part: str) -> Choice:
    return question_of(row, text(row, "subject"))


MMLU = DataSet(
    name="mmlu",
    licence="MIT",
    repository="cais/mmlu",
    fetch="the folder `all` of cais/mmlu",
    parts={"utility": "test"},
    splits={
        split: (Content(layout(f"all/{split}", f"mmlu-{split}", split)),) for split in ("test", "validation", "dev")
    },
    read=_read,
    shots={"utility": "dev"},
    topics=tuple(_BY_TOPIC),
    topic_of=lambda row: TOPIC_OF[row["subject"]],
)
