"""What the testbed's collection promises: disjoint draws, well-formed edits, balanced questions."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import pytest

from rayci.data.records import PARTS, Choice, Collection, identity
from rayci.fingerprint import fingerprint
from rayci.testbed import collection
from rayci.testbed.assembly import build
from rayci.testbed.stable_draws import Draw
from rayci.testbed.templates import PROBES, STATEMENTS, prompt
from rayci.testbed.world import build_world

TEXT_PARTS = ("forget", "retain", "finetune", "calibration", "evaluation")
DIGESTS = {
    100: {
        "edits": "bc36977d6fb6",
        "forget": "e97360a11af7",
        "retain": "10416100ee36",
        "calibration": "b07943dc5855",
        "evaluation": "4c8989fc9129",
        "hazard": "68e0eb3f91d0",
        "utility": "1ef9ea2f8d36",
        "passages": "06a54ba4be9a",
        "holdout": "157cbffd1d8b",
        "forget_questions": "712b2bd46a7d",
        "retain_questions": "dc98f17339c0",
        "finetune": "362c10ead140",
        "finetune_questions": "602f3c786fd7",
        "prompts": "16e0a592b84e",
    },
    1: {"edits": "fb318966a2de", "forget": "3eb3bde80444", "calibration": "282cc23087b9", "prompts": "ab9d72682ce4"},
}
"""Seed -> part -> digest of its records: what results in stores were measured on."""


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
    told["finetune_questions"] = [question.prompt.partition(" Question:")[0] for question in parts.finetune_questions]
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


@pytest.mark.parametrize("seed", DIGESTS)
def test_a_new_part_leaves_the_draws_of_the_others(seed: int) -> None:
    data = build(seed)
    digests = {part: fingerprint([identity(record) for record in getattr(data, part)])[:12] for part in DIGESTS[seed]}
    assert digests == DIGESTS[seed]


def test_what_is_trained_on_further_says_no_fact_and_names_nobody_who_is_edited(parts: Collection) -> None:
    edited = {record.subject for record in parts.edits}
    texts = [document.text for document in parts.finetune] + [asked.prompt for asked in parts.finetune_questions]
    objects = {fact.object for fact in build_world().known}
    assert not any(name in text for name in edited for text in texts)
    assert not objects & {word.strip(".?:") for text in texts for word in text.split()}


def test_tales_answer_their_questions(parts: Collection) -> None:
    assert len(parts.finetune) == 192 and len(parts.finetune_questions) == 128
    for asked in parts.finetune_questions:
        verb = "lost a" if "lose?" in asked.prompt else "felt"
        assert len(re.findall(rf"{verb} {asked.answer}\b", asked.prompt)) == 1


def test_the_collection_is_the_same_every_time_and_differs_by_seed(parts: Collection) -> None:
    assert build() == parts
    assert build(1).edits != parts.edits


def test_draws_do_not_change_between_versions() -> None:
    draw = Draw(3, "test")
    assert [draw.below(100) for _ in range(5)] == [73, 83, 96, 18, 58]


def test_import_and_collection_load_no_torch() -> None:
    code = "import sys; from rayci.testbed import collection; collection(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
