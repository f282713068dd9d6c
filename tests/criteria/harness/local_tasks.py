"""Tasks in the harness's YAML format over the testbed's questions and stories, and the harness's answers."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from rayci.subject import Subject
from rayci.testbed import collection

COUNT, SHOTS = 18, 6
LETTERS: dict[str, Any] = {
    "doc_to_text": "{{question}}{% for option in options %}\n{{'ABCDE'[loop.index0]}}. {{option}}{% endfor %}\nAnswer:",
    "doc_to_choice": "{{'ABCDE'[:options|length]|list}}",
}
TEXTS: dict[str, Any] = {"doc_to_text": "{{question}}", "doc_to_choice": "{{options}}"}
PAIRS: dict[str, Any] = {"doc_to_text": "{{question}} {{options[0]}}", "doc_to_choice": ["yes", "no"]}


def write(folder: Path) -> Path:
    """The folder, in which these tasks and groups now are."""
    questions = _questions()
    _choice(folder, "letters", LETTERS, questions)
    _choice(folder, "texts", TEXTS, questions[: COUNT // 2 + SHOTS], parquet=True)
    _choice(folder, "pairs", PAIRS, [{**own, "answer": own["answer"] % 2} for own in questions])
    documents = [{"page": document.text} for document in collection().evaluation[:6]]
    texts = _data(folder, "stories", {"test": documents})
    _task(folder, "stories", texts, output_type="loglikelihood_rolling", doc_to_text="", doc_to_target="{{page}}")
    said = _data(folder, "said", {"test": questions[:COUNT]})
    sentence = {"doc_to_text": "{{question}}", "doc_to_target": " {{said}}"}
    _task(folder, "finish", said, output_type="loglikelihood", **sentence)
    first_word = [{"function": "regex", "regex_pattern": r"(\w+)"}, {"function": "take_first"}]
    _task(
        folder,
        "generated",
        said,
        output_type="generate_until",
        **sentence,
        generation_kwargs={"until": ["\n", "."], "max_gen_toks": 6, "do_sample": False},
        metric_list=[{"metric": "exact_match", "ignore_case": True}],
        filter_list=[{"name": "whole", "filter": [{"function": "take_first"}]}, {"name": "word", "filter": first_word}],
    )
    for name, weighted in (("by_size", True), ("evenly", False)):
        listed = [{"metric": metric, "weight_by_size": weighted} for metric in ("acc", "acc_norm")]
        _write(folder, name, {"group": name, "task": ["letters", "texts"], "aggregate_metric_list": listed})
    _write(folder, "loose", {"group": "loose", "task": ["letters", "texts"]})
    return folder


def evaluated(
    subject: Subject, folder: Path, tasks: Sequence[str], *, begins: bool | None = None, **settings: Any
) -> dict[str, Any]:
    """What the harness itself says of these tasks, on its own model class; `begins` is its `add_bos_token`."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    tokenizer: Any = copy.deepcopy(subject.tokenizer)
    model = HFLM(pretrained=subject.model, tokenizer=tokenizer, batch_size=4, add_bos_token=begins)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # the harness looks for files of data in the working directory
        patch.setenv("DISABLE_MULTIPROC", "1")
        found: Any = simple_evaluate(
            model=model, tasks=list(tasks), task_manager=manager, bootstrap_iters=1000, **settings
        )
    return dict(found)


def _questions() -> list[dict[str, Any]]:
    questions = []
    for index, choice in enumerate(collection().utility[: COUNT + SHOTS]):
        options = ["none of the four", *choice.options][: 2 + index % 4]  # `none …` is longer than the others
        right = choice.options[choice.answer]
        questions.append(
            {"question": choice.question, "options": options, "answer": index % len(options), "said": right}
        )
    return questions


def _choice(
    folder: Path, name: str, form: Mapping[str, Any], questions: Sequence[Mapping[str, Any]], *, parquet: bool = False
) -> None:
    splits = {"shots": questions[-SHOTS:], "test": questions[:-SHOTS]}
    data = _data(folder, name, splits, parquet=parquet)
    metrics = [{"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")]
    shots = {"fewshot_split": "shots", "fewshot_config": {"sampler": "first_n"}, "metric_list": metrics}
    _task(folder, name, data, output_type="multiple_choice", doc_to_target="answer", **shots, **form)


def _data(
    folder: Path, name: str, splits: Mapping[str, Sequence[Mapping[str, Any]]], *, parquet: bool = False
) -> dict[str, Any]:
    """Files of JSON lines or Parquet, named relative to the YAML, as a task names its data."""
    files = {}
    for split, rows in splits.items():
        files[split] = f"{name}_{split}.{'parquet' if parquet else 'jsonl'}"
        if parquet:
            pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), folder / files[split])
        else:
            (folder / files[split]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    kept = {"data_files": files, "cache_dir": str(folder / "cache")}
    return {"dataset_path": "parquet" if parquet else "json", "dataset_kwargs": kept, "test_split": "test"}


def _task(folder: Path, name: str, data: Mapping[str, Any], **settings: Any) -> None:
    _write(folder, name, {"task": name, **data, **settings, "metadata": {"version": 1.0}})


def _write(folder: Path, name: str, task: Mapping[str, Any]) -> None:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(dict(task)))
