"""`lm_eval:<task>` as the name of a criterion: found, explained, told apart, and sent to other processes."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import constants

from rayci import registry
from rayci.commands import describe
from rayci.criterion import Criterion
from rayci.data import AbsentDataError
from rayci.errors import DataError, RequestError
from rayci.kinds import Direction, Scale
from rayci.planning import spec as specs
from rayci.planning import yaml_source
from rayci.trials.assignment import absolute
from tests.commands.test_cli import call
from tests.criteria.harness.local_tasks import write
from tests.data.download_hub import download_hub

SPEC = """\
interventions: {{wanda: {{sparsity: 0.5}}, rtn: {{bits: 4}}}}
criteria:
{criteria}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tasks"))


def made(task: str, folder: Path | None = None, **settings: Any) -> Criterion:
    place = {} if folder is None else {"include_path": str(folder)}
    return registry.criterion(f"lm_eval:{task}").model_validate({**place, **settings})


def change(folder: Path, task: str, **settings: Any) -> None:
    path = folder / f"{task}.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **settings}))


@pytest.mark.parametrize(
    ("task", "scale", "item"),
    [
        ("arc_easy", Scale(Direction.HIGHER, 0.0, 1.0, None, "share"), "question"),
        ("mmlu", Scale(Direction.HIGHER, 0.0, 1.0, 0.25, "share"), "question"),
        ("wikitext", Scale(Direction.LOWER, 1.0, logarithmic=True), "document"),
        ("squadv2", Scale(Direction.HIGHER), None),
    ],
)
def test_what_the_harness_ships_is_known_without_its_data(task: str, scale: Scale, item: str | None) -> None:
    cls = registry.criterion(f"lm_eval:{task}")
    assert (cls.name, cls.scale, cls.item) == (f"lm_eval:{task}", scale, item)
    assert cls.model_validate({}).scale == scale
    assert describe.criterion(f"lm_eval:{task}")["direction"] == scale.direction


def test_a_metric_has_its_own_direction_and_range(folder: Path) -> None:
    assert made("stories", folder).scale == Scale(Direction.LOWER, 1.0, logarithmic=True)
    assert made("stories", folder, metric="bits_per_byte").scale == Scale(Direction.LOWER, 0.0)
    assert made("pairs", folder).scale.chance == 0.5
    assert made("finish", folder, metric="acc").scale.direction is Direction.HIGHER


@pytest.mark.parametrize(
    ("task", "settings", "said"),
    [
        ("arc_eazy", {}, "try: arc_easy"),
        ("ai2_arc", {}, "try: lm_eval:arc_challenge, lm_eval:arc_easy"),
        ("humaneval", {}, "runs code that the model writes"),
        ("truthfulqa_mc1", {"shots": 5}, "takes no examples"),
        ("arc_easy", {"metric": "acc_nrom"}, "allowed: acc,none; acc_norm,none"),
        ("gsm8k", {"metric": "exact_match,loose"}, "exact_match,flexible-extract"),
        ("arc_easy", {"include_path": "/no/such/folder"}, "no folder"),
    ],
)
def test_what_cannot_be_measured_is_refused(task: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        made(task, **settings)


def test_names_of_the_own_folder_are_near_too(folder: Path) -> None:
    with pytest.raises(RequestError, match="try: generated"):
        made("generates", folder)
    with pytest.raises(RequestError, match="try: lm_eval:letters, lm_eval:texts"):
        made("loose", folder)


def test_a_broken_file_is_named_with_its_line(folder: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(folder, tmp_path / "moved")
    (moved / "letters.yaml").write_text("task: letters\ndoc_to_text: [\n")
    with pytest.raises(RequestError, match=r"letters.yaml cannot be read: .*line 3"):
        made("letters", moved)


def test_a_spec_holds_several_tasks_and_says_where_one_is_wrong(folder: Path) -> None:
    asked = f"  - lm_eval:letters: {{include_path: {folder}, shots: 2}}\n  - lm_eval:texts: {{include_path: {folder}}}"
    spec = specs.from_source(yaml_source.parse(SPEC.format(criteria=asked), "s.yaml"))
    assert [criterion.name for criterion in spec.measured()] == ["lm_eval:letters", "lm_eval:texts"]
    with pytest.raises(RequestError, match=r"at: s.yaml:3: criteria.lm_eval:arc_easy.metric"):
        specs.from_source(yaml_source.parse(SPEC.format(criteria="  lm_eval:arc_easy: {metric: f2}"), "s.yaml"))


def test_workers_find_the_folder_from_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    asked = f"  lm_eval:letters: {{include_path: {folder.name}, limit: 3}}"
    spec = absolute(specs.from_source(yaml_source.parse(SPEC.format(criteria=asked), "s.yaml")))
    assert spec.criteria == {"lm_eval:letters": {"include_path": str(folder), "limit": 3}}


def test_another_process_makes_the_same(folder: Path) -> None:
    criterion = made("letters", folder, shots=2, batch_size=3)
    for other in (pickle.loads(pickle.dumps(criterion)), copy.deepcopy(criterion)):  # noqa: S301 - our own
        assert type(other) is type(criterion) and other == criterion and other.identity() == criterion.identity()


def test_identity_is_what_a_task_says_and_not_where_it_lies(folder: Path, tmp_path: Path) -> None:
    before = made("by_size", folder).identity()
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert made("by_size", moved).identity() == before
    assert before["task"]["lm_eval"] and before["task"]["versions"] == ["1.0"]
    seen = [before, made("by_size", folder, shots=3).identity(), made("by_size", folder, limit=3).identity()]
    change(moved, "texts", doc_to_text="Well, {{question}}")
    seen.append(made("by_size", moved).identity())
    (moved / "letters_test.jsonl").write_text((moved / "letters_shots.jsonl").read_text())
    seen.append(made("by_size", moved).identity())
    (moved / "own.py").write_text("def upper(doc):\n    return doc['question'].upper()\n")
    (moved / "texts.yaml").write_text((moved / "texts.yaml").read_text() + "\ndoc_to_text: !function own.upper\n")
    seen.append(made("by_size", moved).identity())
    (moved / "own.py").write_text("def upper(doc):\n    return doc['question'].lower()\n")
    seen.append(made("by_size", moved).identity())
    assert all(one != other for index, one in enumerate(seen) for other in seen[:index])


def test_data_that_cannot_be_used_are_a_fault_of_the_plan(folder: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert made("letters", moved).own_data_faults() == []
    change(moved, "letters", doc_to_target="{{no_such.column}}")
    change(moved, "texts", dataset_kwargs={"data_files": {"test": "gone.parquet"}})
    (fault,) = made("letters", moved).own_data_faults()
    assert isinstance(fault, DataError) and "letters_test.jsonl" in str(fault) and "no_such" in str(fault)
    (fault,) = made("texts", moved).own_data_faults()
    assert isinstance(fault, DataError) and "gone.parquet" in str(fault)


def test_telling_of_data_fetches_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = shutil.copytree(folder, tmp_path / "moved")
    change(moved, "texts", dataset_path="o/questions", dataset_kwargs=None)
    with download_hub(monkeypatch, tmp_path / "hub") as hub:
        hub.push("datasets/o/questions", {"test.jsonl": b"{}\n"})
        (fault,) = made("texts", moved).own_data_faults(fetch=False)
        assert isinstance(fault, AbsentDataError) and "load_dataset('o/questions')" in str(fault.hint)
        assert hub.asked == []
        assert not constants.HF_HUB_OFFLINE


def test_data_are_fetched_with_a_specs_own(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = shutil.copytree(folder, tmp_path / "moved")
    change(moved, "texts", dataset_kwargs={"data_files": {"test": "gone.parquet"}})
    tasks = "".join(f"  - lm_eval:{task}: {{include_path: {moved}}}\n" for task in ("letters", "texts"))
    (tmp_path / "s.yaml").write_text(SPEC.format(criteria=tasks))
    code, told, _ = call(capsys, monkeypatch, "data", str(tmp_path / "s.yaml"), "--format", "json")
    rows = {row["part"]: row for row in json.loads(told)}
    assert code == 1 and rows["lm_eval:letters"]["state"] == "present"
    assert rows["lm_eval:texts"]["state"] == "missing" and "gone.parquet" in rows["lm_eval:texts"]["to_do"]
    code, told, _ = call(capsys, monkeypatch, "data", "fetch", str(tmp_path / "s.yaml"), "--no-model")
    assert code == 1 and "lm_eval:letters: data of its own" in told
    assert "lm_eval:texts: missing: lm_eval:texts reads gone.parquet" in told


def test_more_shots_than_there_are_examples_are_found_before_a_run_begins(folder: Path) -> None:
    asked = registry.criterion("lm_eval:letters").model_validate({"include_path": str(folder), "shots": 50})
    (fault,) = asked.own_data_faults() or ()
    assert "letters: shots = 50" in fault.problem and fault.key == ("shots",)


@pytest.mark.parametrize(
    "variables", [pytest.param({"HF_HUB_OFFLINE": "1"}, marks=pytest.mark.slow), {"HF_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_a_missing_set_is_told_before_a_run_begins(variables: dict[str, str], tmp_path: Path) -> None:
    """At once, whether the hub may not be asked or does not answer: nothing is tried again and again."""
    spec = tmp_path / "s.yaml"
    spec.write_text(SPEC.format(criteria="  [lm_eval:arc_easy]"))
    offline = {**variables, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "rayci", "run", str(spec), "--out", str(tmp_path / "run")]
    done = subprocess.run(command, env={**os.environ, **offline}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "lm_eval:arc_easy reads allenai/ai2_arc (ARC-Easy): not on this machine" in done.stderr
    assert (
        "s.yaml:2: criteria.lm_eval:arc_easy" in done.stderr
        and "datasets.load_dataset('allenai/ai2_arc'" in done.stderr
    )
    assert not (tmp_path / "run").exists() and "Retrying" not in done.stderr


def test_the_command_line_lists_and_explains_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, explained, _ = call(capsys, monkeypatch, "criteria", "lm_eval:mmlu")
    assert code == 0 and "higher" in explained and "0.25" in explained and "include_path" in explained
    assert call(capsys, monkeypatch, "criteria", "lm_eval:mmul")[2].splitlines()[-1].strip() == "try: mmlu"
    assert "lm_eval:<task>" in registry.criteria()
