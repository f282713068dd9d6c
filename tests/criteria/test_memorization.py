"""Verbatim and knowledge memorization on the testbed: what was trained on is known, what was not is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rayci.context import Context
from rayci.criteria.evaluation.greedy_texts import text_of
from rayci.criteria.memorization import ForgottenKnowledge, RetainedKnowledge, VerbatimMemorization
from rayci.data.records import Passage
from rayci.interventions.compression.magnitude import Magnitude
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import testbed, tokenizer

KNOWN = collection()


@pytest.fixture(scope="module")
def subject() -> Subject:
    return testbed()


def test_trained_passages_are_continued_and_unseen_ones_are_not(subject: Subject) -> None:
    """With all settings as they are: 97.6 on the passages, 0.05 on the hold-out."""
    unseen = Context(replace(KNOWN, passages=KNOWN.holdout))
    assert VerbatimMemorization().measure(subject, Context(KNOWN)).value > 95
    assert VerbatimMemorization().measure(subject, unseen).value < 2


def test_the_facts_are_known_until_the_model_is_damaged() -> None:
    subject = testbed()
    for criterion in (ForgottenKnowledge(), RetainedKnowledge()):
        assert criterion.measure(subject, Context(KNOWN)).value > 99
    subject.apply(Magnitude(sparsity=0.8), Context(KNOWN))
    for criterion in (VerbatimMemorization(), ForgottenKnowledge(), RetainedKnowledge()):
        assert criterion.measure(subject, Context(KNOWN)).value < 60


def test_prompts_that_lose_their_beginning_are_counted(subject: Subject) -> None:
    long = replace(KNOWN.passages[0], prompt=" ".join(passage.text for passage in KNOWN.passages[:20]))
    texts = Context(replace(KNOWN, passages=(long, *KNOWN.passages[:2])))
    note = "1 of 3 prompts leave no room for 30 tokens and lost their first ones"
    assert VerbatimMemorization(tokens=30).measure(subject, texts).note == note
    assert VerbatimMemorization(tokens=30, limit=1).measure(subject, Context(KNOWN)).note is None


def test_the_truth_is_cut_to_as_many_ids_as_are_written_the_special_ones_counted() -> None:
    truth = Passage("One", " old fox went home")
    assert tokenizer()(truth.continuation)["input_ids"][0] == tokenizer().bos_token_id
    score = VerbatimMemorization(tokens=3).score
    assert score(tokenizer(), "old fox", truth) == 100
    assert score(tokenizer(), "old fox went", truth) == pytest.approx(100 * 2 * (2 / 3) / (2 / 3 + 1))


def test_the_truth_is_decoded_as_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    own = tokenizer()
    monkeypatch.setattr(own, "clean_up_tokenization_spaces", True)
    ids = own(" they do n't", add_special_tokens=False)["input_ids"]
    assert own.decode(ids) == " they don't"
    assert VerbatimMemorization().score(own, text_of(own, ids), Passage("We", " they do n't")) == 100
