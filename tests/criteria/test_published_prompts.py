"""MMLU, WMDP and TruthfulQA against EleutherAI's lm-eval: its task files over local data in the published schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from rayci.context import Context
from rayci.criteria.choices import MultipleChoice
from rayci.criteria.evaluation.multiple_choice import chosen, log_likelihoods
from rayci.criteria.knowledge import Mmlu, Wmdp
from rayci.criteria.truthful import TruthfulChoice
from rayci.data import collect
from rayci.model import loading
from rayci.subject import Subject
from rayci.testbed import collection
from tests.criteria.evaluation.test_multiple_choice import with_beginning
from tests.data import real_schemas as real
from tests.models import random_model

TASKS = Path(lm_eval.__file__).parent / "tasks"
SUBJECTS = ("us_foreign_policy", "virology")
COUNT, SHOTS = 12, 5
CRITERIA: Mapping[str, tuple[MultipleChoice, Sequence[str]]] = {
    "0": (Mmlu(), [f"mmlu/default/mmlu_{subject}.yaml" for subject in SUBJECTS]),
    "5": (Mmlu(shots=SHOTS), [f"mmlu/default/mmlu_{subject}.yaml" for subject in SUBJECTS]),
    "wmdp": (Wmdp(), ["wmdp/wmdp_bio.yaml", "wmdp/wmdp_cyber.yaml"]),
    "mc1": (TruthfulChoice(), ["truthfulqa/truthfulqa_mc1.yaml"]),
}
"""Name in the harness's run -> criterion and the task files that it equals together."""
TEMPLATE = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant] "


def docs(start: int, count: int, **more: str) -> list[dict[str, Any]]:
    return [
        {"question": f" {choice.question}", "choices": list(choice.options), "answer": choice.answer, **more}
        for choice in collection().utility[start : start + count]
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Part -> folder with files as on the hub; beside them those of one task each, as lm-eval reads them."""
    folder = tmp_path_factory.mktemp("published")
    test = {subject: docs(30 * place, COUNT, subject=subject) for place, subject in enumerate(SUBJECTS)}
    dev = {subject: docs(30 * place + COUNT, SHOTS + 2, subject=subject) for place, subject in enumerate(SUBJECTS)}
    for split, by_subject in (("test", test), ("dev", dev)):
        real.parquet(
            folder / "mmlu" / "all" / f"{split}-00000-of-00001.parquet",
            [row for rows in by_subject.values() for row in rows],
        )
        for subject, rows in by_subject.items():
            real.lines(folder / f"mmlu_{subject}-{split}.jsonl", rows)
    for place, topic in enumerate(("bio", "cyber")):
        rows = docs(80 + 30 * place, COUNT - 5 * place)
        real.parquet(folder / "wmdp" / f"wmdp-{topic}" / "test-00000-of-00001.parquet", rows)
        real.lines(folder / f"wmdp_{topic}-test.jsonl", rows)
    answers = [
        {
            "question": row["question"],
            "mc1_targets": {"choices": row["choices"][:size], "labels": [1] + [0] * (size - 1)},
        }
        for row, size in zip(docs(150, COUNT), [2, 3, 4] * COUNT, strict=False)
    ]
    real.parquet(folder / "truthfulqa" / "validation-00000-of-00001.parquet", answers)
    real.lines(folder / "truthfulqa_mc1-validation.jsonl", answers)
    return {"utility": folder / "mmlu", "hazard": folder / "wmdp", "truthfulqa": folder / "truthfulqa"}


def harness(
    subject: Subject, data: Mapping[str, Path], criteria: Mapping[str, Any], *, begins: bool
) -> dict[str, list[Any]]:
    """The harness's samples for each criterion, in the order of the data: one run over all tasks."""
    tasks, folder = {}, data["utility"].parent
    for name, (criterion, files) in criteria.items():
        for file in files:
            config = load_yaml(TASKS / file)
            splits = [config.get("test_split"), config.get("validation_split"), config.get("fewshot_split")]
            found = {split: str(folder / f"{config['task']}-{split}.jsonl") for split in splits if split}
            local = {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": found}}
            own = {"task": f"{config['task']}_{name}", "tag": None, "num_fewshot": getattr(criterion, "shots", 0)}
            tasks[name, file] = {**config, **local, **own}
    model = HFLM(
        pretrained=subject.model, tokenizer=subject.tokenizer, device="cpu", batch_size=8, add_bos_token=begins
    )
    chat = any(criterion.chat for criterion, _ in criteria.values())
    results: Any = lm_eval.simple_evaluate(
        model=model,
        tasks=[*tasks.values()],
        task_manager=TaskManager(include_defaults=False),  # whose 14,000 files take ten times as long as these tasks
        bootstrap_iters=0,
        apply_chat_template=chat,
        fewshot_as_multiturn=False,
    )
    samples: dict[str, list[Any]] = {}
    for (name, _), task in tasks.items():
        own_samples = sorted(results["samples"][task["task"]], key=lambda sample: int(sample["doc_id"]))
        samples.setdefault(name, []).extend(own_samples)
    return samples


def agree(criterion: MultipleChoice, samples: Sequence[Any], subject: Subject, data: Mapping[str, Path]) -> None:
    """Prompts, options, log-likelihoods and right answers are the harness's, question by question."""
    source = {"utility": "mmlu", "hazard": "wmdp", "truthfulqa": "truthfulqa"}[criterion.part]
    found = collect({criterion.part: {"source": source, "path": str(data[criterion.part])}}, "x", fetch=False)
    questions = criterion.questions(subject.tokenizer, criterion.asked(found), found)
    reading = criterion.measure(subject, Context(found))
    assert reading.items is not None and len(samples) == len(questions) == reading.n
    scores = log_likelihoods(subject, questions, 4096)
    for sample, question, own, right in zip(samples, questions, scores, reading.items.values, strict=True):
        contexts = {context.removeprefix(subject.tokenizer.bos_token) for context, _ in sample["arguments"]}
        assert (contexts, [option for _, option in sample["arguments"]]) == ({question.context}, [*question.options])
        theirs = [float(response[0]) for response in sample["filtered_resps"]]
        assert own == pytest.approx(theirs, abs=1e-4)
        assert chosen(own) == chosen(theirs)
        assert sample["acc"] == right


def speaking(side: str, *, begins: bool) -> Subject:
    """A random model with room for examples, and a tokenizer that pads on a side and begins texts, or does not."""
    subject = loading.wrap(random_model("gpt2", n_positions=2048), with_beginning(side, begins=begins))
    subject.tokenizer.padding_side, subject.tokenizer.chat_template = side, TEMPLATE
    return subject


@pytest.mark.parametrize(("side", "begins"), [("left", True), ("right", False)])
def test_prompts_and_choices_are_the_harnesss(side: str, begins: bool, data: Mapping[str, Path]) -> None:
    subject = speaking(side, begins=begins)
    samples = harness(subject, data, CRITERIA, begins=begins)
    for name, (criterion, _) in CRITERIA.items():
        agree(criterion, samples[name], subject, data)


def test_a_chat_is_the_harnesss(data: Mapping[str, Path]) -> None:
    """But for headers, which the harness makes a turn of the system's; not every template has that role."""
    subject, criterion = speaking("left", begins=True), TruthfulChoice(chat=True)
    samples = harness(subject, data, {"chat": (criterion, CRITERIA["mc1"][1])}, begins=True)
    agree(criterion, samples["chat"], subject, data)
