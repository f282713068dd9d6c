"""Choices question by question as EleutherAI's lm-eval makes them: `make test-oracle`, where lm-eval is installed.

Local tasks in the harness's format, 0 and 5 shots, single letters and options of several tokens, two to five of
them, tokenizers that pad on either side, with and without a token at the beginning.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rayci.criteria.evaluation.multiple_choice import chosen, log_likelihoods, per_character
from rayci.criteria.evaluation.question_tokens import Question
from rayci.model import loading
from rayci.subject import Subject
from rayci.testbed import collection
from tests.criteria.evaluation.test_multiple_choice import with_beginning
from tests.models import testbed

pytestmark = pytest.mark.oracle
COUNT = 30
LETTERS: dict[str, Any] = {
    "doc_to_text": "{{question}}{% for option in options %}\n{{'ABCDE'[loop.index0]}}. {{option}}{% endfor %}\nAnswer:",
    "doc_to_choice": "{{'ABCDE'[:options|length]|list}}",
}
TEXTS: dict[str, Any] = {"doc_to_text": "{{question}}", "doc_to_choice": "{{options}}"}
FORMATS = {"letters": LETTERS, "texts": TEXTS}


def task(folder: Path, form: str, shots: int) -> dict[str, Any]:
    """A multiple-choice task over the testbed's questions, from files of JSON lines."""
    docs = []
    for index, choice in enumerate(collection().utility[: COUNT + 10]):
        options = [*choice.options, "none of the four"][: 2 + index % 4]  # `none …` is longer than the others
        docs.append({"question": choice.question, "options": options, "answer": index % len(options)})
    for name, part in (("shots", docs[COUNT:]), ("test", docs[:COUNT])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in part))
    return {
        "task": f"testbed_{form}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {name: str(folder / f"{name}.jsonl") for name in ("shots", "test")}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "fewshot_split": "shots",
        "fewshot_config": {"sampler": "first_n"},
        "num_fewshot": shots,
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
        **FORMATS[form],
    }


def harness(subject: Subject, configuration: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    """The harness's samples, one a question."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=subject.model, tokenizer=subject.tokenizer, device="cpu", batch_size=8, **settings)
    results: Any = simple_evaluate(model=model, tasks=[configuration], bootstrap_iters=0)
    samples: list[dict[str, Any]] = results["samples"][configuration["task"]]
    return sorted(samples, key=lambda sample: int(sample["doc_id"]))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("shots", [0, 5])
@pytest.mark.parametrize(("side", "begins"), [("left", True), ("right", False)])
def test_same_choices_as_the_harness(form: str, shots: int, side: str, begins: bool, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    subject = loading.wrap(testbed().model, with_beginning(side, begins=begins))
    subject.tokenizer.padding_side = side
    samples = harness(subject, task(tmp_path, form, shots), add_bos_token=begins)
    requests = [list(sample["arguments"]) for sample in samples]
    asked = [Question(own[0][0], tuple(option for _, option in own), "one subject") for own in requests]
    found = log_likelihoods(subject, asked, 4096)
    assert len(found) == COUNT and {len(own) for own in found} == {2, 3, 4, 5}
    for sample, question, scores in zip(samples, asked, found, strict=True):
        theirs = [float(response[0]) for response in sample["filtered_resps"]]
        assert scores == pytest.approx(theirs, abs=1e-4)
        assert chosen(scores) == chosen(theirs)
        assert sample["acc"] == (chosen(scores) == sample["doc"]["answer"])
        normalised = chosen(per_character(scores, question.options))
        assert sample["acc_norm"] == (normalised == sample["doc"]["answer"])
