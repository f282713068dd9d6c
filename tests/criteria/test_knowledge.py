"""WMDP, MMLU, TruthfulQA and flips: means, errors, ties and notes by hand; prompts are in test_published_prompts.py."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from rayci.context import Context
from rayci.criteria.choices import Hazard, Utility
from rayci.criteria.flips import Flips
from rayci.criteria.knowledge import Mmlu, Wmdp, WmdpBio, WmdpCyber
from rayci.criteria.truthful import TruthfulChoice
from rayci.data.records import Choice, Collection
from rayci.errors import DataError, MeasurementError
from rayci.interventions.compression.wanda import Wanda
from rayci.kinds import Scale
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import testbed, tiny

LONG = {"n_positions": 1024}


def of_topics(bio: int, cyber: int) -> Collection:
    hazard = collection().hazard[: bio + cyber]
    topics = ["bio"] * bio + ["cyber"] * cyber
    return Collection(hazard=tuple(replace(c, topic=topic) for c, topic in zip(hazard, topics, strict=True)))


def test_wmdp_is_the_plain_mean_of_its_topics_however_many_questions_they_have() -> None:
    subject, context = tiny("gpt2", **LONG), Context(of_topics(12, 36))
    both, bio, cyber = (criterion(scoring="text").measure(subject, context) for criterion in (Wmdp, WmdpBio, WmdpCyber))
    assert (both.n, bio.n, cyber.n) == (48, 12, 36) and bio.value != cyber.value
    assert both.value == pytest.approx((bio.value + cyber.value) / 2, abs=1e-15)
    assert both.stderr is not None and bio.stderr is not None and cyber.stderr is not None
    assert both.stderr == pytest.approx(math.sqrt(bio.stderr**2 + cyber.stderr**2) / 2)
    assert both.items is not None and both.items.weights == pytest.approx([2.0] * 12 + [2 / 3] * 36)
    assert both.items.mean == pytest.approx(both.value, abs=1e-12)


def test_a_limit_takes_of_every_subject_its_share() -> None:
    asked = Wmdp(limit=12).asked(of_topics(12, 36))
    assert [choice.topic for choice in asked] == ["bio"] * 3 + ["cyber"] * 9
    subject = tiny("gpt2", **LONG)
    assert WmdpCyber(limit=9).measure(subject, Context(of_topics(12, 36))).n == 9


def test_options_that_are_equally_likely_are_no_answer() -> None:
    """The right option is the first of every question: a model that tells nothing must not be right everywhere."""
    flat = tiny("gpt2", **LONG)
    with torch.no_grad():
        flat.model.get_output_embeddings().weight.zero_()
    options = ("red", "blue", "amber")  # one token each
    data = Collection(truthfulqa=tuple(Choice(f"Which is it, {name}?", options, 0) for name in "abc"))
    assert TruthfulChoice().measure(flat, Context(data)).value == 0.0
    with torch.no_grad():
        flat.model.get_output_embeddings().weight.fill_(math.nan)
    with pytest.raises(MeasurementError, match="NaN"):
        TruthfulChoice().measure(flat, Context(data))


def test_flips_are_counted_in_both_directions() -> None:
    context = Context(replace(collection(), hazard=collection().hazard[:60], utility=collection().utility[:60]))
    subject = testbed()
    flips = Flips(of=("utility", "hazard"))
    before = flips.measure(subject, context)
    assert before.value == 0.0 and before.n == 120
    then = answers(subject, context)
    subject.apply(Wanda(sparsity=0.75, sequences=16, length=64), context)
    now = answers(subject, context)
    reading = flips.measure(subject, context.with_reference(before.records))
    turned = [float(own != other) for own, other in zip(now, then, strict=True)]
    assert reading.items is not None and list(reading.items.values) == turned
    assert reading.value == pytest.approx(sum(turned) / 120) and reading.value > 0
    assert Flips(of="utility").reads() == {"utility"} != Flips().reads()
    with pytest.raises(MeasurementError, match="other questions"):
        Flips(of="utility").measure(subject, context.with_reference(before.records))


def answers(subject: Subject, context: Context) -> Sequence[float]:
    items = [criterion().measure(subject, context).items for criterion in (Utility, Hazard)]
    return [value for own in items if own is not None for value in own.values]


def test_prompts_that_do_not_fit_are_counted_and_keep_their_ends() -> None:
    choices = tuple(replace(choice, subject="law") for choice in collection().utility[:20])
    longer = (replace(choices[0], question="the " * 300 + choices[0].question), *choices[1:])
    subject = tiny("gpt2", n_positions=128)
    assert Mmlu().measure(subject, Context(Collection(utility=choices))).note is None
    reading = Mmlu().measure(subject, Context(Collection(utility=longer)))
    assert reading.note == "1 of 20 prompts exceed the model's context and lost their first tokens"
    cut = (replace(choices[0], question="the " * 400 + choices[0].question), *choices[1:])
    assert Mmlu().measure(subject, Context(Collection(utility=cut))).items == reading.items


def test_guessing_is_right_as_often_as_there_are_few_options() -> None:
    mixed = Collection(utility=(Choice("Which?", ("a", "b"), 0), Choice("Who?", ("a", "b", "c", "d"), 1)))
    assert Utility().scale_on(mixed) == Scale(Utility.scale.direction, 0.0, 1.0, 0.375, "share")
    assert Utility().scale_on(collection()) == Utility.scale
    assert Mmlu().scale_on(Collection()) == Mmlu.scale


@pytest.mark.parametrize("shots", [1, 3])
def test_examples_stand_once_between_header_and_question(shots: int) -> None:
    few = tuple(Choice(f"Why {number}?", ("x", "y"), number % 2, "old law") for number in range(3))
    others = (Choice("Not this?", ("x", "y"), 0, "virology"),)
    data = Collection(utility=(Choice(" What? ", ("p", "q"), 1, "old law"),), shots={"utility": (*others, *few)})
    (question,) = Mmlu(shots=shots).prompts(Mmlu().asked(data), data)
    header = "The following are multiple choice questions (with answers) about old law.\n\n"
    listed = [f"Why {number}?\nA. x\nB. y\nAnswer: {'AB'[number % 2]}\n\n" for number in range(shots)]
    assert question.context == f"{header}{''.join(listed)}What?\nA. p\nB. q\nAnswer:"
    assert question.options == (" A", " B") and question.group == "old law"
    with pytest.raises(DataError, match="shots = 4, and utility has 3 examples of old law"):
        list(Mmlu(shots=4).prompts(data.utility, data))


def test_letters_end_at_z() -> None:
    many = Collection(utility=(Choice("Which?", tuple(map(str, range(27))), 0),))
    (fault,) = Utility(scoring="letters").check(many)
    assert "27 options" in fault.problem and not list(Utility().check(many))


@pytest.mark.parametrize("shots", [0, 2])
def test_one_question_at_a_time_is_answered_as_all_together(shots: int) -> None:
    choices = tuple(replace(choice, subject="law") for choice in collection().utility[:30])
    context = Context(Collection(utility=choices[:24], shots={"utility": choices[24:]}))
    subject = copy.deepcopy(tiny("gpt2", **LONG))
    together = Mmlu(shots=shots).measure(subject, context)
    assert Mmlu(shots=shots, forward_tokens=1).measure(subject, context) == together
