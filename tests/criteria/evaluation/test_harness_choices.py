"""Choices question by question as EleutherAI's lm-eval makes them.

Local tasks in the harness's format, 0 and 5 shots, single letters and options of several tokens, two to five of
them, tokenizers that pad on either side, with and without a token at the beginning.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rayci.criteria.evaluation.multiple_choice import chosen, log_likelihoods, per_character
from rayci.criteria.evaluation.question_tokens import Question, tokenised
from rayci.model import loading
from tests.criteria.evaluation.test_multiple_choice import with_beginning
from tests.criteria.harness.local_tasks import evaluated, write
from tests.models import testbed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tasks"))


@pytest.mark.parametrize(
    ("side", "begins", "shots"),
    [("left", True, 0), ("left", False, 5), ("right", True, 5), ("right", False, 0)],  # every two together
)
def test_same_choices_as_the_harness(side: str, begins: bool, shots: int, folder: Path) -> None:
    subject = loading.wrap(testbed().model, with_beginning(side, begins=begins))
    subject.tokenizer.padding_side = side
    found = evaluated(subject, folder, ["letters", "texts"], num_fewshot=shots, begins=begins)
    for task, samples in found["samples"].items():
        requests = [list(sample["arguments"]) for sample in samples]
        asked = [Question(own[0][0], tuple(option for _, option in own), task) for own in requests]
        ours = log_likelihoods(subject, asked, 4096)
        assert {len(own) for own in ours} == {2, 3, 4, 5}
        lengths = {len(option) for tokens in tokenised(subject.tokenizer, tuple(asked)) for option in tokens.options}
        assert 1 in lengths and (max(lengths) > 2) == (task == "texts")
        for sample, question, scores in zip(samples, asked, ours, strict=True):
            theirs = [float(response[0]) for response in sample["filtered_resps"]]
            assert scores == pytest.approx(theirs, abs=1e-4)
            assert chosen(scores) == chosen(theirs)
            assert sample["acc"] == (chosen(scores) == sample["doc"]["answer"])
            normalised = chosen(per_character(scores, question.options))
            assert sample["acc_norm"] == (normalised == sample["doc"]["answer"])
