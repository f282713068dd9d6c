"""Texts that continue prompts, against `generate` on one prompt and cut by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rayci.criteria.evaluation.greedy_texts import greedy_texts
from rayci.subject import Subject
from tests.criteria.evaluation.test_multiple_choice import SHOTS, inputs_seen
from tests.models import testbed

PROMPTS = ("Anna saw the", "The old man", "Question: which city does", "It")


@pytest.fixture(scope="module")
def subject() -> Subject:
    return testbed()


def alone(subject: Subject, prompt: str, most: int) -> str:
    ids = torch.tensor([subject.tokenizer(prompt)["input_ids"]])
    generate: Any = subject.model.generate
    output = generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False, pad_token_id=1
    )
    return str(subject.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))


@pytest.mark.parametrize("most_tokens", [1, 10_000])
def test_texts_are_those_of_generate(subject: Subject, most_tokens: int) -> None:
    expected = [alone(subject, prompt, 20) for prompt in PROMPTS]
    assert greedy_texts(subject, PROMPTS, most=20, most_tokens=most_tokens) == expected
    assert len(set(expected)) == len(PROMPTS)


def test_texts_end_before_the_first_stop_and_their_rows_with_it(subject: Subject) -> None:
    whole = alone(subject, PROMPTS[1], 20)
    stop = whole[14:17]  # begins and ends inside words
    with inputs_seen(subject) as shapes:
        (found,) = greedy_texts(subject, PROMPTS[1:2], most=20, most_tokens=1000, stops=("nowhere", stop))
    assert found == whole[: whole.index(stop)]
    assert 4 < len(shapes) < 12


def test_few_shot_examples_change_nothing_but_the_time(subject: Subject) -> None:
    asked = [SHOTS[:60] + prompt for prompt in PROMPTS]
    found = greedy_texts(subject, asked, most=8, most_tokens=1000, groups=["shots"] * len(asked))
    assert found == [alone(subject, prompt, 8) for prompt in asked]
