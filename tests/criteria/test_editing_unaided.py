"""Edit success where the model itself must stop, by hand and against `generate` on one prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from rayci.context import Context
from rayci.criteria.editing import EditSuccess
from rayci.criteria.editing_unaided import EditExactMatch, EditNaturalStop
from rayci.criterion import Criterion
from rayci.data.records import EditRecord
from rayci.interventions.editing.finetuning import FineTuning
from rayci.subject import Subject
from rayci.testbed import collection
from tests.criteria.spoken import chained, token
from tests.models import testbed, tokenizer

CONTEXT = Context(collection(), batch_size=8)


def scored(criterion: Criterion, said: tuple[str, ...], target: str) -> float:
    """What a model that says these tokens gets for a target."""
    subject = chained(*(0 if text == "END" else token(text) for text in said))
    context = Context(replace(CONTEXT.data, edits=(EditRecord("Ada", "Ada is", target, "b"),)), batch_size=1)
    return criterion.measure(subject, context).value


@pytest.mark.parametrize(
    ("said", "target", "score"),
    [
        ((" the", " a", "END", " in"), "the a", 1.0),
        ((" the", " a", "\n", " in"), "the a", 1.0),  # a line break ends it, and does not count
        ((" the", "END"), "the a", 2 / 3),
        ((" the", " a", " in", "END"), "the a", 2 * 2 / 5),  # what comes after the target counts
        ((" the", " a", " in", " of", " to", "END"), "the", 2 / 5),  # four times the target's length, no more
        ((" the", " ", " a", "END"), "the a", 1.0),  # spaces are removed before
        (("END", " the"), "the", 0.0),
        (("\n", " the"), "the", 0.0),
    ],
)
def test_the_model_itself_must_stop(said: tuple[str, ...], target: str, score: float) -> None:
    assert scored(EditNaturalStop(), said, target) == pytest.approx(score)


@pytest.mark.parametrize(
    ("said", "target", "score"),
    [
        ((" the", " a", " in"), "the a", 1.0),
        ((" the", " ", " a"), "the a", 1.0),
        ((" a", " the"), "the a", 0.0),  # the same set in another order
        ((" the", "END", " a"), "the a", 0.0),
        ((" the",), "", 0.0),  # no content, nothing to match
    ],
)
def test_exact_match_is_every_token_in_its_place(said: tuple[str, ...], target: str, score: float) -> None:
    assert scored(EditExactMatch(), said, target) == score


@pytest.fixture(scope="module")
def edited() -> Subject:
    subject = testbed()
    subject.apply(FineTuning(layers=(1, 2), lr=4e-3, steps=4), CONTEXT)
    return subject


def test_natural_stop_against_generate(edited: Subject) -> None:
    special, expected = {0, 1, token(" ")}, []
    for edit in CONTEXT.edits:
        target = tokenizer()(f" {edit.target_new}", add_special_tokens=False)["input_ids"]
        ids = torch.tensor([tokenizer()(edit.prompt)["input_ids"]])
        generate: Any = edited.model.generate
        output = generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=4 * len(target), do_sample=False,
            stop_strings=["\n"], tokenizer=tokenizer(), pad_token_id=1,
        )  # fmt: skip
        new = [one for one in output[0, ids.shape[1] :].tolist() if one not in special and one != token("\n")]
        shared = set(new) & set(target)
        expected.append(2 * len(shared) / (len(set(new)) + len(set(target))))
    reading = EditNaturalStop().measure(edited, CONTEXT)
    assert reading.items is not None
    assert list(reading.items.values) == pytest.approx(expected)
    assert 0 < reading.value < 1, "a model between knowing all and nothing is needed to tell"


def test_the_length_of_the_target_is_a_help(edited: Subject) -> None:
    readings = [criterion.measure(edited, CONTEXT).value for criterion in (EditSuccess(), EditExactMatch())]
    assert EditNaturalStop().measure(edited, CONTEXT).value < readings[0]
    assert readings[1] == readings[0], "the testbed's answers are single tokens"
