"""What the testbed's collection promises: disjoint draws, well-formed edits, balanced questions."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import pytest

from rayci.data.records import PARTS, Choice, Collection
from rayci.testbed import collection
from rayci.testbed.assembly import build
from rayci.testbed.stable_draws import Draw
from rayci.testbed.templates import PROBES, STATEMENTS, prompt
from rayci.testbed.world import build_world

TEXT_PARTS = ("forget", "retain", "calibration", "evaluation")


@pytest.fixture(scope="module")
def parts() -> Collection:
    return collection()


def sentences(text: str) -> set[str]:
    return {line.strip() for line in re.split(r"(?<=\.)\s", text)}


def test_every_part_but_the_literatures_is_filled_and_names_its_source(parts: Collection) -> None:
    literature = {"wikitext", "truthfulqa", "triviaqa"}  # named after data sets, of which nothing is invented
    assert {name for name in PARTS if not parts.part(name)} == literature
    assert set(parts.sources) == set(PARTS)


def test_no_document_is_in_two_parts(parts: Collection) -> None:
    texts = [document.text for name in TEXT_PARTS for document in getattr(parts, name)]
    texts += [passage.text for passage in parts.holdout]
    assert len(set(texts)) == len(texts)


def test_no_sentence_about_a_fact_is_in_two_parts(parts: Collection) -> None:
    seen: dict[str, str] = {}
    told: dict[str, list[str]] = {
        name: [document.text for document in getattr(parts, name) if document.topic != "stories"] for name in TEXT_PARTS
    }
    told["holdout"] = [passage.text for passage in parts.holdout]
    for name, texts in told.items():
        for line in set().union(*map(sentences, texts)) if texts else set():
            assert seen.setdefault(line, name) == name


def test_passages_are_forget_documents(parts: Collection) -> None:
    forget = {document.text for document in parts.forget}
    assert all(passage.text in forget for passage in parts.passages)


def test_unlearning_text_never_uses_the_wording_of_questions(parts: Collection) -> None:
    assert not set(STATEMENTS) & set(PROBES)
    starts = ("Question:", "Quiz:", "Asked about", "Name the")
    assert not any(start in document.text for document in (*parts.forget, *parts.retain) for start in starts)


def test_forget_is_balanced_over_topics_and_retain_mixes_kinds(parts: Collection) -> None:
    assert len(set(Counter(document.topic for document in parts.forget).values())) == 1
    assert set(Counter(document.topic for document in parts.retain)) == {"stories", "people", "creatures"}


def test_ten_batches_of_fifty_edits(parts: Collection) -> None:
    assert len(parts.edits) == 500
    assert len({record.prompt for record in parts.edits}) == 500
    for record in parts.edits:
        assert record.prompt.count(record.subject) == 1
        assert record.target_new != record.ground_truth
        assert len(set(record.rephrases)) == 10
        assert record.prompt not in record.rephrases
        assert all(rephrase.count(record.subject) == 1 for rephrase in record.rephrases)
        assert len({question.prompt for question in record.locality}) == 3


def test_locality_asks_only_about_people_who_are_never_edited(parts: Collection) -> None:
    edited = {record.subject for record in parts.edits}
    asked = {question.prompt for record in parts.edits for question in record.locality}
    assert not any(subject in text for subject in edited for text in asked)


def test_edits_replace_a_fact_by_another_object_of_its_relation(parts: Collection) -> None:
    facts = {prompt(fact, 0): fact for fact in build_world().people}
    for record in parts.edits:
        fact = facts[record.prompt]
        assert (record.subject, record.ground_truth) == (fact.subject, fact.object)
        assert record.target_new in fact.relation.objects


@pytest.mark.parametrize("name", ["hazard", "utility"])
def test_right_options_are_spread_evenly(parts: Collection, name: str) -> None:
    asked: tuple[Choice, ...] = getattr(parts, name)
    assert 128 <= len(asked) <= 160
    assert len(set(Counter(question.answer for question in asked).values())) == 1
    assert all(len(set(question.options)) == 4 for question in asked)


def test_the_collection_is_the_same_every_time_and_differs_by_seed(parts: Collection) -> None:
    assert build() == parts
    assert build(1).edits != parts.edits


def test_draws_do_not_change_between_versions() -> None:
    draw = Draw(3, "test")
    assert [draw.below(100) for _ in range(5)] == [73, 83, 96, 18, 58]


def test_import_and_collection_load_no_torch() -> None:
    code = "import sys; from rayci.testbed import collection; collection(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
