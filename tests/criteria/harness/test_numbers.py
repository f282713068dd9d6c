"""Values, standard errors and samples against `lm_eval.simple_evaluate` on the harness's own model."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from rayci import registry
from rayci.conformance.bench import Snapshot
from rayci.context import Context
from rayci.criterion import Reading
from rayci.data.records import Collection
from rayci.errors import MeasurementError
from rayci.interventions.compression.wanda import Wanda
from rayci.subject import Subject
from rayci.testbed import collection
from tests.criteria.harness.local_tasks import evaluated, write
from tests.models import testbed

TOGETHER = ("by_size", "pairs", "stories", "finish", "generated")
"""Tasks that one run of the harness evaluates; `by_size` is the group of `letters` and `texts`."""
METRICS = {
    "letters": ("acc", "acc_norm"),
    "texts": ("acc", "acc_norm"),
    "pairs": ("acc", "acc_norm"),
    "stories": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "finish": ("perplexity", "acc"),
    "generated": ("exact_match,whole", "exact_match,word"),
    "by_size": ("acc", "acc_norm"),
    "evenly": ("acc", "acc_norm"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def pruned() -> Subject:
    """A subject that errs in some answers."""
    subject = testbed()
    subject.apply(Wanda(sparsity=0.65, sequences=16, length=64), Context(collection()))
    return subject


def measured(subject: Subject, folder: Path, task: str, **settings: Any) -> Reading:
    criterion = registry.criterion(f"lm_eval:{task}").model_validate({"include_path": str(folder), **settings})
    return criterion.measure(subject, Context(Collection()))


@pytest.fixture(scope="module")
def theirs(pruned: Subject, folder: Path) -> Mapping[str, Mapping[str, Any]]:
    runs = [evaluated(pruned, folder, list(TOGETHER)), evaluated(pruned, folder, ["evenly"])]
    return {name: values for run in runs for name, values in run["results"].items()}


@pytest.mark.parametrize(("task", "metric"), [(task, metric) for task, own in METRICS.items() for metric in own])
def test_numbers_of_the_harness(
    task: str, metric: str, pruned: Subject, folder: Path, theirs: Mapping[str, Mapping[str, Any]]
) -> None:
    reading = measured(pruned, folder, task, metric=metric)
    name, _, form = metric.partition(",")
    assert reading.value == pytest.approx(theirs[task][f"{name},{form or 'none'}"], rel=1e-5)
    spread = theirs[task][f"{name}_stderr,{form or 'none'}"]
    assert reading.stderr == (None if spread == "N/A" else pytest.approx(spread, rel=1e-4))


def test_the_subject_errs_and_knows(pruned: Subject, folder: Path, theirs: Mapping[str, Mapping[str, Any]]) -> None:
    """Or the numbers above would be equal for any model."""
    assert 0 < theirs["letters"]["acc,none"] < 1 and 0 < theirs["generated"]["exact_match,whole"] < 1
    assert theirs["generated"]["exact_match,whole"] != theirs["generated"]["exact_match,word"]
    assert theirs["by_size"]["acc,none"] != theirs["evenly"]["acc,none"]


@pytest.mark.parametrize("task", METRICS)
def test_samples_are_items(task: str, pruned: Subject, folder: Path) -> None:
    reading = measured(pruned, folder, task)
    scale = registry.criterion(f"lm_eval:{task}").model_validate({"include_path": str(folder)}).scale
    assert reading.items is not None
    assert math.fsum(reading.items.weights or [1.0] * len(reading.items.values)) == reading.n
    mean = math.exp(reading.items.mean) if scale.logarithmic else reading.items.mean
    assert mean == pytest.approx(reading.value, rel=1e-12)


def test_items_stand_in_the_order_of_the_samples(pruned: Subject, folder: Path) -> None:
    samples = evaluated(pruned, folder, ["letters"])["samples"]["letters"]
    reading = measured(pruned, folder, "letters")
    assert reading.items is not None
    assert list(reading.items.values) == [one["acc"] for one in sorted(samples, key=lambda one: one["doc_id"])]


@pytest.mark.parametrize(("shots", "limit"), [(5, None), (3, 7)])
def test_shots_and_limit(shots: int, limit: int | None, pruned: Subject, folder: Path) -> None:
    found = evaluated(pruned, folder, ["letters"], num_fewshot=shots, limit=limit)
    reading = measured(pruned, folder, "letters", shots=shots, limit=limit)
    assert reading.value == found["results"]["letters"]["acc,none"]
    assert reading.n == found["n-samples"]["letters"]["effective"]


def test_a_chat_is_that_of_the_tokenizer(folder: Path) -> None:
    subject = testbed()
    subject.tokenizer.chat_template = (
        "{% for turn in messages %}{{ turn['role'] }}: {{ turn['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    found = evaluated(subject, folder, ["letters"], num_fewshot=2, apply_chat_template=True)
    reading = measured(subject, folder, "letters", shots=2, chat=True)
    assert reading.value == found["results"]["letters"]["acc,none"]
    assert reading.value != measured(subject, folder, "letters", shots=2).value


@pytest.mark.parametrize("task", ["letters", "stories", "generated"])
def test_a_subject_and_its_surroundings_are_left_as_found(task: str, folder: Path) -> None:
    subject = testbed()
    subject.tokenizer.padding_side, subject.tokenizer.pad_token = "right", None
    configuration = subject.model.generation_config.to_dict() if subject.model.generation_config else None
    before, stream = Snapshot.of(subject), (random.getstate(), torch.get_rng_state())
    measured(subject, folder, task)
    after = Snapshot.of(subject)
    assert not before.differing(after)
    assert (before.flags, before.training, before.hooked) == (after.flags, after.training, after.hooked)
    assert before.use_cache == after.use_cache
    assert (subject.tokenizer.padding_side, subject.tokenizer.pad_token) == ("right", None)
    assert subject.model.generation_config is None or subject.model.generation_config.to_dict() == configuration
    assert random.getstate() == stream[0] and torch.equal(torch.get_rng_state(), stream[1])


@pytest.mark.parametrize("task", ["letters", "stories", "finish", "generated"])
def test_a_ruined_model_has_no_value(task: str, folder: Path) -> None:
    subject = testbed()
    with torch.no_grad():
        for parameter in subject.model.parameters():
            parameter.fill_(math.nan)
    with pytest.raises(MeasurementError, match="NaN"):
        measured(subject, folder, task)


def test_a_perplexity_beyond_all_numbers_is_infinite(folder: Path) -> None:
    subject = testbed()
    with torch.no_grad():
        subject.model.get_output_embeddings().weight.mul_(-1e4)
    reading = measured(subject, folder, "stories")
    assert reading.value == math.inf and reading.items is not None


def test_another_stage_renders_no_prompt_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = testbed()
    first = measured(subject, folder, "texts")
    monkeypatch.setattr("lm_eval.api.task.Task.build_all_requests", lambda *_, **__: pytest.fail("rendered again"))
    assert measured(subject, folder, "texts") == first
