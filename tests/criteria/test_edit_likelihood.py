"""Likelihoods of edit targets against transformers' own loss of one edit at a time."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from rayci.context import Context
from rayci.criteria.edit_likelihood import EditLoss, EditTeacherForced, LossRatio
from rayci.criteria.perplexity import GeneralLoss
from rayci.data.records import EditRecord
from rayci.errors import DataError, MeasurementError
from rayci.interventions.compression.wanda import Wanda
from rayci.model.encoding import IGNORED
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import ARCHITECTURES, testbed, tiny

DATA = replace(collection(), evaluation=collection().evaluation[:3])
CONTEXT = Context(DATA, batch_size=10)
TARGETS = ("Anna", "the old man by the river and a cat", "x")
"""Of one and of many tokens."""
MIXED = Context(
    replace(DATA, edits=tuple(EditRecord("who", "Tell me who is", target, "nobody") for target in TARGETS)),
    batch_size=3,
)


@torch.no_grad()
def own_losses(subject: Subject, context: Context) -> list[float]:
    """The model's own mean loss on the labelled target, one edit at a time."""
    losses = []
    for edit in context.edits:
        start = subject.tokenizer(edit.prompt)["input_ids"]
        target = subject.tokenizer(f" {edit.target_new}", add_special_tokens=False)["input_ids"]
        labels = torch.tensor([[IGNORED] * len(start) + target])
        losses.append(float(subject.model(input_ids=torch.tensor([start + target]), labels=labels).loss))
    return losses


@torch.no_grad()
def chosen_shares(subject: Subject, context: Context) -> list[float]:
    shares = []
    for edit in context.edits:
        start = subject.tokenizer(edit.prompt)["input_ids"]
        target = subject.tokenizer(f" {edit.target_new}", add_special_tokens=False)["input_ids"]
        hits = 0
        for place, token in enumerate(target):
            logits = subject.model(input_ids=torch.tensor([start + target[:place]])).logits[0, -1]
            hits += int(logits.argmax()) == token
        shares.append(hits / len(target))
    return shares


def pruned() -> Subject:
    """A testbed that is right about some tokens of its true facts and wrong about others."""
    subject = testbed()
    subject.apply(Wanda(sparsity=0.75, sequences=16, length=64), CONTEXT)
    return subject


def of_true_facts(context: Context) -> Context:
    """The edits of a batch with what the testbed knows as their targets."""
    edits = tuple(replace(edit, target_new=edit.ground_truth) for edit in context.edits)
    return replace(context, data=replace(context.data, edits=edits))


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_edit_loss_is_the_mean_over_edits_of_the_models_own(kind: str) -> None:
    subject = tiny(kind)
    expected = own_losses(subject, MIXED)
    reading = EditLoss().measure(subject, MIXED)
    assert reading.items is not None
    assert sorted(reading.items.values) == pytest.approx(sorted(expected), abs=1e-5)
    assert reading.value == pytest.approx(sum(expected) / 3, abs=1e-5)
    assert reading.n == 3


def test_teacher_forced_is_the_mean_over_edits_of_their_shares() -> None:
    subject, context = pruned(), of_true_facts(CONTEXT)
    expected = chosen_shares(subject, context)
    reading = EditTeacherForced().measure(subject, context)
    assert reading.items is not None
    assert list(reading.items.values) == pytest.approx(expected)
    assert 0 < reading.value < 1, "a model that errs now and then is needed to tell"


@pytest.mark.parametrize("criterion", [EditLoss, EditTeacherForced, LossRatio])
def test_one_edit_at_a_time_gives_the_same(criterion: type[EditLoss]) -> None:
    subject = tiny()
    one, many = (criterion(forward_tokens=size).measure(subject, MIXED) for size in (1, 10_000))
    assert one.items is not None and many.items is not None
    assert one.items.values == pytest.approx(many.items.values, abs=1e-5)


def test_the_ratio_is_of_the_edits_and_the_general_loss() -> None:
    subject = testbed()
    ratio = LossRatio().measure(subject, CONTEXT)
    edits, general = EditLoss().measure(subject, CONTEXT), GeneralLoss().measure(subject, CONTEXT)
    assert ratio.value == pytest.approx(edits.value / general.value)
    assert edits.stderr is not None and ratio.stderr == pytest.approx(edits.stderr / general.value)
    assert ratio.n == 10


def test_a_prompt_beyond_the_context_keeps_its_last_tokens() -> None:
    subject = tiny()
    record = MIXED.edits[0]
    long = replace(record, prompt=f"{'a cat and ' * 60}{record.prompt}")
    context = Context(replace(DATA, edits=(long,)), batch_size=1)
    whole = subject.tokenizer(f"{long.prompt} {long.target_new}")["input_ids"]
    count = len(subject.tokenizer(f" {long.target_new}", add_special_tokens=False)["input_ids"])
    assert len(whole) > subject.context_length == 96
    kept = torch.tensor([whole[-96:]])
    with torch.no_grad():
        loss = subject.model(input_ids=kept, labels=kept.clone().index_fill_(1, torch.arange(96 - count), IGNORED)).loss
    assert EditLoss().measure(subject, context).value == pytest.approx(float(loss), abs=1e-5)


@pytest.mark.parametrize("criterion", [EditLoss(), EditTeacherForced(), LossRatio()])
def test_nan_is_a_failed_measurement(criterion: EditLoss) -> None:
    subject = tiny()
    with torch.no_grad():
        subject.model.get_output_embeddings().weight.fill_(math.nan)
    with pytest.raises(MeasurementError, match="NaN"):
        criterion.measure(subject, MIXED)


def test_a_target_without_a_token_is_a_data_error() -> None:
    subject = tiny()
    words = int(subject.context_length / 2)
    endless = replace(MIXED.edits[0], target_new=" ".join(["cat and"] * words))
    with pytest.raises(DataError, match="target tokens"):
        EditLoss().measure(subject, Context(replace(DATA, edits=(endless,)), batch_size=1))
