"""`data:` of a spec by part and source: what is refused, and where; what reaches fingerprints, rows and workers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rayci.commands import cli
from rayci.data.records import Choice, identity
from rayci.data.relocation import relocated
from rayci.planning import plan as plans
from rayci.planning import spec as specs
from rayci.planning import yaml_source
from rayci.planning.faults import Examination
from rayci.planning.sweep import Sweep
from rayci.running.rows import versions
from tests.data import real_schemas as real

HEAD = "interventions: {ft: {}}\ncriteria: [mmlu]\nedit_batch: 1\ndata:\n"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

CASES = {
    # name: (lines below `data:`, line of the fault, words)
    "unknown source": ("  edits: zsrr\n", 5, "try: zsre"),
    "unknown part": ("  edits: zsre\n  edit: zsre\n", 6, "try: edits"),
    "unknown key": ("  edits:\n    source: zsre\n    limt: 3\n", 7, "try: limit"),
    "unknown split": ("  edits: {source: zsre, split: trian}\n", 5, "try: train"),
    "unknown topic": ("  hazard: {source: wmdp, topics: [boi]}\n", 5, "try: bio"),
    "part that the set has not": ("  forget: zsre\n", 5, "zsre has no forget"),
    "limit of none": ("  utility: {source: mmlu, limit: 0}\n", 5, "limit"),
    "limit is a word": ("  utility: {source: mmlu, limit: few}\n", 5, "limit"),
    "source is a number": ("  edits: 5\n", 5, "is no source"),
    "source is a list": ("  edits: [zsre]\n", 5, "is no source"),
    "revision given twice": ("  hazard: {source: cais/wmdp@main, revision: v1}\n", 5, "given twice"),
    "file and path": ("  edits: {source: a.jsonl, path: b.jsonl}\n", 5, "names another"),
    "no such file": ("  edits: {source: zsre, path: nowhere.json}\n", 5, "nowhere.json"),
    "no path that can be": ("  edits: {source: zsre, path: ~nouser/x}\n", 5, "no usable path"),
    "not on the hub": ("  edits: mquake\n", 5, "MQuAKE-CF-3k-v2.json"),
}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and a hub that does not answer, with a cache beside it."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def cached(work: Path, repository: str) -> Path:
    """The folder of a repository's one snapshot in the hub's cache."""
    place = work / "hub" / f"datasets--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    return place / "snapshots" / COMMIT


def examined(work: Path, data: str, *, elsewhere: bool = False, criteria: str = "[mmlu]") -> Examination:
    (work / "spec.yaml").write_text(HEAD.replace("[mmlu]", criteria) + data)
    source = yaml_source.read(work / "spec.yaml")
    return Examination.of(specs.from_source(source), source, elsewhere=elsewhere)


@pytest.mark.parametrize("name", CASES)
def test_refused(name: str, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    data, line, words = CASES[name]
    (work / "spec.yaml").write_text(HEAD + data)
    monkeypatch.setattr(sys, "argv", ["rayci", "run", str(work / "spec.yaml")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr()
    assert stop.value.code == cli.WRONG_REQUEST and said.out == ""
    assert words in said.err and f"spec.yaml:{line}: data." in said.err
    assert list(Path.cwd().iterdir()) == []


def test_every_part_that_is_wrong_is_said_at_once(work: Path) -> None:
    broken = real.lines(work / "broken.jsonl", [{"question": "Which?"}])
    faults = examined(work, f"  hazard: {{source: wmdp, path: {broken}}}\n  utility: mmlu\n").unreadable
    assert [str(fault.at).partition(" ")[2][:12] for fault in faults] == ["data.hazard "]
    faults = examined(work, "  hazard: wmdp\n  utility: mmlu\n").unreadable
    assert ["data.hazard" in str(faults[0].at), "data.utility" in str(faults[1].at)] == [True, True]
    assert all("could not be fetched" in fault.problem for fault in faults)


def test_plan_does_not_miss_what_is_still_on_the_hub(work: Path) -> None:
    plan = examined(work, "  utility: mmlu\n  edits: zsre\n", elsewhere=True)
    assert plan.unreadable == () and any("the data" in note for note in plan.unknown())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("data: publishd", "try: published"),
        ("data: tetsbed", "try: testbed"),
        ("data: {utility: {source: mmlu, path: .}}", "holds none of the data files"),
    ],
)
def test_plan_tells_a_name_that_will_be_right_nowhere(data: str, words: str, work: Path) -> None:
    (work / "spec.yaml").write_text(HEAD.replace("data:", data))
    source = yaml_source.read(work / "spec.yaml")
    (fault,) = Examination.of(specs.from_source(source), source, elsewhere=True).unreadable
    assert words in str(fault) and "spec.yaml:4: data" in str(fault.at)


def test_a_variable_that_names_no_folder_is_one_fault(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYCI_DATA", str(work / "downlaods"))
    (fault,) = examined(work, "  utility: mmlu\n  edits: zsre\n").unreadable
    assert fault.problem.startswith("RAYCI_DATA names no folder")


@pytest.mark.parametrize("name", ["cais/mmlu", "mmlu", f"cais/mmlu@{COMMIT}"])
def test_what_the_hubs_cache_holds_is_read_offline(name: str, work: Path) -> None:
    real.parquet(cached(work, "cais/mmlu") / "all" / "test-00000-of-00001.parquet", real.MMLU)
    data = examined(work, f"  utility: {name}\n").data
    assert data is not None and len(data.utility) == len(real.MMLU)
    assert data.commits == {"utility": f"cais/mmlu@{COMMIT}"}
    assert json.loads(versions(tuple(data.commits.values())))["data"] == [f"cais/mmlu@{COMMIT}"]


def test_examples_that_are_not_here_are_no_fault_of_the_data(work: Path) -> None:
    real.parquet(cached(work, "cais/mmlu") / "all" / "test-00000-of-00001.parquet", real.MMLU)
    faults = examined(work, "  utility: mmlu\n", elsewhere=True, criteria="{mmlu: {shots: 5}}").faults()
    (fault,) = (fault for fault in faults if "utility" in fault.problem)
    assert fault.problem == "the few-shot examples of utility are not on this machine"
    assert "split dev of mmlu" in str(fault.hint) and "rayci data fetch" in str(fault.hint)
    without = examined(work, "  utility: mmlu\n", elsewhere=True).faults()
    assert not [fault for fault in without if "utility" in fault.problem]


def swept(work: Path, data: Any) -> str:
    values = {"interventions": {"wanda": {"sparsity": 0.5}}, "criteria": ["mmlu"], "data": data, "name": "s"}
    return Sweep.open(specs.from_source(yaml_source.Source("s", values, {}))).content


def test_the_records_that_are_read_decide_the_content(work: Path) -> None:
    real.parquet(cached(work, "cais/mmlu") / "all" / "test-00000-of-00001.parquet", real.MMLU)
    copy = real.parquet(work / "all" / "test.parquet", real.MMLU)
    text = {"calibration": str(real.lines(work / "calibration.jsonl", [{"text": "word " * 50_000}]))}
    whole = swept(work, {"utility": "mmlu", **text})
    assert swept(work, {"utility": {"source": "mmlu", "path": str(copy)}, **text}) == whole  # wherever it lies
    assert swept(work, {"utility": {"source": "mmlu", "limit": 4}, **text}) != whole


def test_a_record_from_before_questions_had_subjects_keeps_its_hash() -> None:
    assert identity(Choice("Which?", ("a", "b"), 1)) == {"question": "Which?", "options": ("a", "b"), "answer": 1}
    assert identity(Choice("Which?", ("a", "b"), 1, "law", "other"))["subject"] == "law"


def test_a_plan_of_named_files_keeps_its_fingerprints() -> None:
    values = {"interventions": {"ft": {}}, "criteria": ["mmlu"], "name": "s", "data": {"edits": "edits.jsonl"}}
    planner = plans.Names(specs.from_source(yaml_source.Source("s", values, {})))
    assert planner.part("edits", 0) == "bc82622b2d1494df20d412e398d3edb34a85cb947160eebdfdb8aa224a384a4e"


def test_local_places_alone_are_moved() -> None:
    def place(path: str) -> str:
        return f"/base/{path}"

    data = {
        "edits": {"source": "zsre", "path": "z.json"},
        "forget": "f.jsonl",
        "hazard": "wmdp",
        "utility": "cais/mmlu",
    }
    assert relocated(data, place) == {
        "edits": {"source": "zsre", "path": "/base/z.json"},
        "forget": "/base/f.jsonl",
        "hazard": "wmdp",
        "utility": "cais/mmlu",
    }
    assert relocated("testbed", place) == "testbed" and relocated("folder", place) == "/base/folder"


def test_shared_text_is_refused_with_the_plan_and_an_allowance_is_recorded(work: Path) -> None:
    text = real.lines(work / "text.jsonl", [{"text": " ".join(map(str, range(60)))}])
    data = f"  retain: {text}\n  evaluation: {text}\n"
    (fault,) = [fault for fault in examined(work, data).faults() if "share text" in fault.problem]
    assert "spec.yaml:5: data.retain" in str(fault.at) and "11 runs of 50 words" in fault.problem
    allowing = examined(work, f"{data}allow_overlap: [[retain, evaluation]]\n")
    assert not [fault for fault in allowing.faults() if "share text" in fault.problem]
    assert allowing.data is not None
    overlaps = Sweep(allowing.spec, work, allowing.data).overlaps_allowed
    assert json.loads(versions((), overlaps))["allow_overlap"] == [["evaluation", "retain"]]
