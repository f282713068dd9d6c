"""Four-choice accuracy against torch's cross-entropy, one option at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch.nn import functional as F

from rayci.context import Context
from rayci.criteria.choices import Hazard, Utility
from rayci.criteria.evaluation.question_tokens import Question, tokenised
from rayci.data.records import Choice
from rayci.errors import DataError, MeasurementError
from rayci.interventions.compression.wanda import Wanda
from rayci.model.encoding import prompt_ids, target_ids
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import testbed, tiny

CONTEXT = Context(replace(collection(), hazard=collection().hazard[:40], utility=collection().utility[:40]))
MIXED = (
    Choice("Question: who is at home? Answer:", ("Anna", "the old man by the river", "nobody", "a cat and a dog"), 1),
    Choice("Where", ("here", "there and back", "x", "yz"), 0),
    Choice("Is it? Answer:", ("yes", "no"), 1),
)


@torch.no_grad()
def log_prob(subject: Subject, prompt: str, option: str) -> float:
    """log p(option | prompt) from one unpadded pass over both."""
    start = subject.tokenizer(prompt)["input_ids"]
    answer = subject.tokenizer(" " + option, add_special_tokens=False)["input_ids"]
    logits = subject.model(input_ids=torch.tensor([start + answer])).logits[0]
    predicting = logits[len(start) - 1 : -1]
    return -float(F.cross_entropy(predicting, torch.tensor(answer), reduction="sum"))


def slow_accuracy(subject: Subject, questions: tuple[Choice, ...]) -> float:
    right = 0
    for question in questions:
        scores = [log_prob(subject, question.question, option) for option in question.options]
        right += scores.index(max(scores)) == question.answer
    return right / len(questions)


def letters_accuracy(subject: Subject, questions: tuple[Choice, ...]) -> float:
    right = 0
    for question in questions:
        a, b, c, d = question.options
        prompt = f"{question.question}\nA. {a}\nB. {b}\nC. {c}\nD. {d}\nAnswer:"
        scores = [log_prob(subject, prompt, letter) for letter in "ABCD"]
        right += scores.index(max(scores)) == question.answer
    return right / len(questions)


@pytest.fixture(scope="module")
def pruned() -> Subject:
    subject = testbed()
    subject.apply(Wanda(sparsity=0.75, sequences=16, length=64), CONTEXT)
    return subject


@pytest.mark.parametrize("criterion", [Hazard, Utility])
def test_accuracy_is_that_of_one_option_at_a_time(pruned: Subject, criterion: type[Hazard]) -> None:
    questions: tuple[Choice, ...] = getattr(CONTEXT.data, criterion.part)
    reading = criterion().measure(pruned, CONTEXT)
    assert reading.value == pytest.approx(slow_accuracy(pruned, questions))
    assert reading.n == 40
    assert reading.value < 1, "a model that errs is needed to tell"
    assert reading.stderr == pytest.approx(math.sqrt(reading.value * (1 - reading.value) / 39))


def test_letters_list_the_options_and_score_their_letters(pruned: Subject) -> None:
    reading = Hazard(scoring="letters").measure(pruned, CONTEXT)
    assert reading.value == pytest.approx(letters_accuracy(pruned, CONTEXT.data.hazard))


def test_text_per_character_divides_by_the_length_of_the_option(pruned: Subject) -> None:
    right = 0
    for question in CONTEXT.data.hazard:
        scores = [log_prob(pruned, question.question, option) / len(option) for option in question.options]
        right += scores.index(max(scores)) == question.answer
    assert Hazard(scoring="text_per_character").measure(pruned, CONTEXT).value == pytest.approx(right / 40)


@pytest.mark.parametrize("scoring", ["text", "letters"])
def test_one_row_at_a_time_gives_the_same_items(pruned: Subject, scoring: Literal["text", "letters"]) -> None:
    together = Utility(scoring=scoring).measure(pruned, CONTEXT)
    assert Utility(scoring=scoring, forward_tokens=1).measure(pruned, CONTEXT) == together


def test_prompt_and_option_together_are_their_tokens_one_after_the_other() -> None:
    """As version 1 made them of the testbed's questions: its values are those of version 2."""
    subject = testbed()
    choices = (*collection().hazard, *collection().utility)
    asked = tuple(Question(choice.question, tuple(f" {option}" for option in choice.options)) for choice in choices)
    for choice, tokens in zip(choices, tokenised(subject.tokenizer, asked), strict=True):
        assert tokens.context.tolist() == prompt_ids(subject.tokenizer, choice.question)
        targets = [target_ids(subject.tokenizer, option) for option in choice.options]
        assert [option.tolist() for option in tokens.options] == targets


def test_questions_with_other_numbers_of_options_are_scored() -> None:
    subject = tiny()
    context = Context(replace(CONTEXT.data, hazard=MIXED))
    assert Hazard().measure(subject, context).value == pytest.approx(slow_accuracy(subject, MIXED))


def test_the_answer_is_read() -> None:
    turned = tuple(replace(question, answer=(question.answer + 1) % 4) for question in CONTEXT.data.utility)
    subject = testbed()
    assert Utility().measure(subject, CONTEXT).value > 0.9
    assert Utility().measure(subject, Context(replace(CONTEXT.data, utility=turned))).value < 0.1


@pytest.mark.parametrize("criterion", [Hazard(), Utility()])
def test_nan_is_a_failed_measurement(criterion: Hazard) -> None:
    subject = tiny()
    with torch.no_grad():
        subject.model.get_output_embeddings().weight.fill_(math.nan)
    with pytest.raises(MeasurementError, match="NaN"):
        criterion.measure(subject, CONTEXT)


def test_no_questions_is_a_data_error() -> None:
    with pytest.raises(DataError, match="no questions"):
        Hazard().measure(tiny(), Context(replace(CONTEXT.data, hazard=())))
