"""Editing criteria by hand and against one prompt at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel

from rayci import registry
from rayci.context import Context
from rayci.criteria.editing import (
    EditGeneralization,
    EditLocality,
    EditLocalityAgreement,
    EditPortability,
    EditSuccess,
)
from rayci.criteria.editing_criterion import set_f1
from rayci.criteria.evaluation.content_tokens import SPARE
from rayci.criterion import mean_reading
from rayci.data.records import EditRecord, QuestionAnswer
from rayci.errors import DataError, Inapplicable, MeasurementError, RequestError
from rayci.interventions.compression.wanda import Wanda
from rayci.interventions.editing.finetuning import FineTuning
from rayci.item_values import Items
from rayci.subject import Subject
from rayci.testbed import collection
from rayci.testbed.tokenizer import build_tokenizer
from tests.criteria.spoken import chained, token
from tests.models import testbed, tiny, tokenizer

CONTEXT = Context(collection(), batch_size=8)


@pytest.mark.parametrize(
    ("predicted", "target", "score"),
    [
        ([5], [5], 1.0),
        ([5], [6], 0.0),
        ([], [6], 0.0),
        ([], [], 0.0),
        ([1, 2, 3], [2, 3, 4], 2 * 2 / 6),
        ([1, 1, 1], [1], 1.0),  # sets: repeats count once
        ([1, 2], [1, 3, 4], 2 * 1 / 5),
        ([3, 2, 1], [1, 2, 3], 1.0),  # order does not count
    ],
)
def test_set_f1_by_hand(predicted: list[int], target: list[int], score: float) -> None:
    assert set_f1(predicted, target) == pytest.approx(score)


@pytest.mark.parametrize(
    ("said", "target", "score"),
    [
        ((" ", " the", " a"), "the a", 1.0),  # a bare space is not one of the two that are compared
        ((" the", " ", " a"), "the a", 1.0),
        ((" the", " a", " in"), "the a", 1.0),  # no longer than the target
        ((" in", " ", " a"), "the a", 0.5),
        ((" the", " a"), "  the", 1.0),  # the target's own space makes nothing longer
    ],
)
def test_what_is_no_content_is_removed_before_the_cut(said: tuple[str, ...], target: str, score: float) -> None:
    subject = chained(*map(token, said))
    edit = EditRecord("Ada", "Ada is", target, "b")
    context = Context(replace(CONTEXT.data, edits=(edit,)), batch_size=1)
    reading = EditSuccess().measure(subject, context)
    assert reading.value == pytest.approx(score)
    assert reading.records is not None
    assert len(reading.records[0]) <= len(target.split())


def test_mean_and_standard_error_by_hand() -> None:
    # 1, 0, 0, 1: mean .5, sample variance 4 · .25 / 3, divided by 4
    reading = mean_reading([1.0, 0.0, 0.0, 1.0])
    assert (reading.value, reading.n) == (0.5, 4)
    assert reading.stderr == pytest.approx((1 / 3 / 4) ** 0.5)
    assert reading.items == Items((1.0, 0.0, 0.0, 1.0))
    assert mean_reading([0.25]).stderr is None


def one_by_one(subject: Subject, prompt: str, answer: str) -> float:
    """F1 of one prompt: generate without padding, filter, cut, compare sets."""
    special = {0, 1, token(" ")}
    target = tokenizer()(" " + answer, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([tokenizer()(prompt)["input_ids"]])
    generate: Any = subject.model.generate
    most = len(target) + SPARE
    output = generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False, pad_token_id=1
    )
    wanted = [token for token in target if token not in special]
    got = [token for token in output[0, ids.shape[1] :].tolist() if token not in special][: len(wanted)]
    shared = set(got) & set(wanted)
    return 2 * len(shared) / (len(set(got)) + len(set(wanted))) if shared else 0.0


def questions(edit: EditRecord, name: str) -> Iterator[tuple[str, str]]:
    if name == "edit_success":
        yield edit.prompt, edit.target_new
    elif name == "edit_generalization":
        yield from ((prompt, edit.target_new) for prompt in edit.rephrases)
    else:
        yield from ((item.prompt, item.answer) for item in edit.locality)


@pytest.fixture(scope="module")
def edited() -> Subject:
    """A model that has learned some edits and lost some facts."""
    subject = testbed()
    subject.apply(Wanda(sparsity=0.6, sequences=8, length=64), CONTEXT)
    subject.apply(FineTuning(layers=(1, 2), lr=4e-3, steps=4), CONTEXT)
    return subject


@pytest.mark.parametrize("name", ["edit_success", "edit_generalization", "edit_locality"])
def test_batches_score_as_one_prompt_at_a_time(edited: Subject, name: str) -> None:
    scores = [[one_by_one(edited, *question) for question in questions(edit, name)] for edit in CONTEXT.edits]
    reading = registry.criterion(name)().measure(edited, CONTEXT)
    assert reading.value == pytest.approx(sum(sum(row) / len(row) for row in scores) / 8)
    assert reading.n == 8
    assert 0 < reading.value < 1, "a model between knowing all and nothing is needed to tell"


def test_targets_of_several_tokens_score_as_one_at_a_time(edited: Subject) -> None:
    endings = ["", " and", " at home by the river", " more", "", " a b", " the", " in the old town"]
    pairs = zip(CONTEXT.edits, endings, strict=True)
    edits = tuple(replace(edit, target_new=f"{edit.target_new}{ending}") for edit, ending in pairs)
    context = Context(replace(CONTEXT.data, edits=edits), batch_size=8)
    expected = [one_by_one(edited, edit.prompt, edit.target_new) for edit in context.edits]
    assert EditSuccess().measure(edited, context).value == pytest.approx(sum(expected) / 8)
    assert any(0 < score < 1 for score in expected)


def test_edits_are_the_unknown_and_locality_the_known() -> None:
    subject = testbed()
    assert EditSuccess().measure(subject, CONTEXT).value < 0.1
    assert EditLocality().measure(subject, CONTEXT).value > 0.9


def test_edits_weigh_the_same_however_many_rephrases_they_have(edited: Subject) -> None:
    first, second = CONTEXT.edits[0], CONTEXT.edits[1]
    few = replace(first, rephrases=first.rephrases[:1])
    context = Context(replace(CONTEXT.data, edits=(few, second)), batch_size=2)
    one, other = (
        EditGeneralization().measure(edited, Context(replace(CONTEXT.data, edits=(edit,)), batch_size=1)).value
        for edit in (few, second)
    )
    assert EditGeneralization().measure(edited, context).value == pytest.approx((one + other) / 2)


def test_an_untouched_model_agrees_with_itself() -> None:
    subject = testbed()
    first = EditLocalityAgreement().measure(subject, CONTEXT)
    assert first.value == 1
    again = EditLocalityAgreement().measure(subject, CONTEXT.with_reference(first.records))
    assert again.value == 1


def test_agreement_is_f1_with_the_untouched_continuations(edited: Subject) -> None:
    before = EditLocalityAgreement().measure(testbed(), CONTEXT)
    now = EditLocalityAgreement().measure(edited, CONTEXT.with_reference(before.records))
    assert before.records is not None
    assert now.records is not None
    # answers are single tokens here: F1 is whether the token is the same
    same = [float(a == b) for a, b in zip(now.records, before.records, strict=True)]
    assert now.value == pytest.approx(sum(same) / len(same))
    assert 0 < now.value < 1


def test_a_reference_of_other_prompts_is_refused() -> None:
    with pytest.raises(MeasurementError, match="other prompts"):
        EditLocalityAgreement().measure(testbed(), CONTEXT.with_reference([[1], [2]]))


@pytest.mark.parametrize("criterion", [EditGeneralization(), EditLocality()])
def test_edits_without_prompts_of_a_kind_are_a_data_error(criterion: EditLocality) -> None:
    edits = (EditRecord("Ada", "Ada is", "a", "b"),)
    with pytest.raises(DataError, match="no prompts"):
        criterion.measure(tiny(), Context(replace(CONTEXT.data, edits=edits), batch_size=1))
    (found,) = criterion.check(replace(CONTEXT.data, edits=edits))
    assert "no prompts" in str(found)
    assert not list(criterion.check(CONTEXT.data))
    assert not list(EditPortability().check(replace(CONTEXT.data, edits=edits)))


def test_portability_is_the_best_answer_to_each_question_and_edits_without_one_do_not_count() -> None:
    subject = chained(token(" the"), token(" a"))
    asked = (QuestionAnswer("Who", "in", aliases=("the a",)), QuestionAnswer("What", "the in"))
    edits = (
        EditRecord("Ada", "Ada is", "a", "b", portability=asked),
        EditRecord("Bo", "Bo is", "a", "b"),
        EditRecord("Cy", "Cy is", "a", "b", portability=(QuestionAnswer("Why", "in"),)),
    )
    reading = EditPortability().measure(subject, Context(replace(CONTEXT.data, edits=edits), batch_size=3))
    assert reading.items is not None
    assert sorted(reading.items.values) == [0.0, (1.0 + 0.5) / 2]
    assert reading.n == 2


def test_portability_does_not_apply_where_no_edit_has_a_question() -> None:
    with pytest.raises(Inapplicable, match="portability"):
        EditPortability().measure(testbed(), CONTEXT)


TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}>>{% endif %}"


def test_chat_asks_as_a_turn_and_answers_have_no_space_before_them() -> None:
    templated: Any = build_tokenizer()
    templated.backend_tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    templated.chat_template = TEMPLATE
    subject = chained(*templated("the", add_special_tokens=False)["input_ids"])
    subject._tokenizer = templated
    edits = (EditRecord("Ada", "Ada is", "the", "b"),)
    context = Context(replace(CONTEXT.data, edits=edits), batch_size=1)
    seen: list[Any] = []
    hook = subject.model.get_input_embeddings().register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    assert EditSuccess(chat=True).measure(subject, context).value == 1
    hook.remove()
    assert seen[1][0].tolist() == templated("<user>Ada is>>")["input_ids"]
    assert EditSuccess().measure(subject, context).value == 0
    templated.chat_template = None
    with pytest.raises(RequestError, match="chat template"):
        EditSuccess(chat=True).measure(subject, context)


@pytest.mark.parametrize("name", ["edit_success", "edit_generalization", "edit_locality"])
def test_one_row_at_a_time_gives_the_same_reading(edited: Subject, name: str) -> None:
    criterion = registry.criterion(name)
    together = criterion().measure(edited, CONTEXT)
    assert criterion.model_validate({"forward_tokens": 1}).measure(edited, CONTEXT) == together


def test_locality_reads_the_gold_answers() -> None:
    edit = CONTEXT.edits[0]
    wrong = replace(edit, locality=tuple(QuestionAnswer(item.prompt, edit.subject) for item in edit.locality))
    context = Context(replace(CONTEXT.data, edits=(wrong,)), batch_size=1)
    assert EditLocality().measure(testbed(), context).value == 0


@pytest.mark.parametrize(
    "name", ["edit_success", "edit_generalization", "edit_locality", "edit_locality_agreement", "edit_natural_stop"]
)
def test_nan_is_a_failed_measurement(name: str) -> None:
    subject = tiny()
    with torch.no_grad():
        subject.model.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(MeasurementError, match="NaN"):
        registry.criterion(name)().measure(subject, CONTEXT)
