"""`rayci data`: what a spec's data are, where they are, and what is to be fetched."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rayci import testbed
from rayci.commands import cli
from rayci.planning.sweep import Sweep
from rayci.trials.asked_spec import read_spec
from rayci.units import size
from tests.data import real_schemas as real
from tests.data.download_hub import download_hub

SPEC = """\
interventions: {{ft: {{}}}}
criteria: [mmlu]
data:
  edits: {{source: zsre, path: {folder}/zsre.json}}
  utility: {{source: mmlu, path: {folder}/mmlu.jsonl}}
  forget: wmdp_corpora
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The rows that `rayci data` gives as JSON, by part; its exit code and notes under `code` and `notes`."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def run(spec: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["rayci", "data", spec, "--format", "json"])
        with pytest.raises(SystemExit) as stop:
            cli.main()
            raise SystemExit(0)
        printed = capsys.readouterr()
        rows = {row["part"]: row for row in json.loads(printed.out)}
        return {**rows, "code": stop.value.code, "notes": printed.err}

    return run


def test_every_part_is_told(told: Any, tmp_path: Path) -> None:
    zsre = real.array(tmp_path / "zsre.json", real.ZSRE)
    real.lines(tmp_path / "mmlu.jsonl", [{"question": "Which?"}])
    (tmp_path / "spec.yaml").write_text(SPEC.format(folder=tmp_path))
    rows = told(str(tmp_path / "spec.yaml"))
    edits, utility, forget = rows["edits"], rows["utility"], rows["forget"]
    assert (edits["state"], edits["source"], edits["records"]) == ("present", str(zsre), 1)
    assert "1: the target is empty" in edits["left_out"]
    assert utility["state"] == "broken" and "mmlu.jsonl:1" in utility["to_do"]
    assert (forget["state"], forget["licence"]) == ("missing", "MIT")
    assert "form" in forget["gate"] and "bio_remove_dataset.jsonl" in forget["to_do"]
    assert rows["code"] == 1


def test_examples_that_are_not_here_are_told_beside_their_part(told: Any, tmp_path: Path) -> None:
    real.lines(tmp_path / "test.jsonl", real.MMLU)
    data = f"data: {{utility: {{source: mmlu, path: {tmp_path}}}}}"
    (tmp_path / "spec.yaml").write_text(f"interventions: {{ft: {{}}}}\ncriteria: [mmlu]\n{data}\n")
    rows = told(str(tmp_path / "spec.yaml"))
    assert (rows["code"], rows["utility"]["state"]) == (0, "present")
    assert "few-shot examples are not here: fetch split dev of mmlu" in rows["utility"]["to_do"]


def test_the_testbed_is_all_there(told: Any) -> None:
    rows = told("quickstart")
    assert rows["code"] == 0 and rows["edits"]["records"] == 500


@pytest.mark.parametrize(("count", "release"), [(408, ", release of 2024-04-23"), (412, ", first release"), (9, "")])
def test_wmdp_is_told_by_its_release(count: int, release: str, told: Any, tmp_path: Path) -> None:
    file = real.lines(tmp_path / "wmdp-chem.jsonl", [real.question("chem", number) for number in range(count)])
    data = f"data: {{hazard: {{source: wmdp, topics: [chem], path: {file}}}}}\n"
    (tmp_path / "spec.yaml").write_text(f"interventions: {{ft: {{}}}}\ncriteria: [sparsity]\n{data}")
    assert told(str(tmp_path / "spec.yaml"))["hazard"]["source"] == f"{file}{release}"


def test_where_to_put_it_and_shared_text(told: Any, tmp_path: Path) -> None:
    text = real.lines(tmp_path / "text.jsonl", [{"text": " ".join(map(str, range(60)))}])
    data = f"data: {{preset: published, retain: {text}, calibration: {text}}}"
    (tmp_path / "spec.yaml").write_text(
        f"interventions: {{wanda: {{sparsity: 0.5}}, rmu: {{}}}}\n{data}\ncriteria: [hazard]\n"
    )
    rows = told(str(tmp_path / "spec.yaml"))
    assert rows["code"] == 1 and set(rows) == {"forget", "retain", "calibration", "hazard", "code", "notes"}
    assert rows["hazard"]["into"].startswith("wmdp/ in RAYCI_DATA")
    assert "retain and calibration share text" in rows["notes"]
    assert "evaluation and retain may share text" in rows["notes"]


def test_what_is_missing_has_its_size_where_the_hub_tells(
    told: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = "data: {utility: mmlu, hazard: {source: wmdp, topics: [bio]}, edits: mquake}"
    (tmp_path / "spec.yaml").write_text(f"interventions: {{ft: {{}}}}\ncriteria: [mmlu]\n{data}\n")
    with download_hub(monkeypatch, tmp_path / "hub") as hub:
        hub.push("datasets/cais/mmlu", {"all/test.jsonl": b"x" * 3000, "other.bin": b"x" * 99})
        rows = told(str(tmp_path / "spec.yaml"))
    assert rows["utility"]["size"] == f"{size(3000)} to fetch"
    assert (rows["hazard"]["size"], rows["edits"]["size"]) == ("", "")


def test_fetch_brings_data_and_model_and_says_what_it_could_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.yaml").write_text(
        "model: o/tiny\ninterventions: {rtn: {bits: 4}}\ncriteria: [mmlu, hazard]\n"
        "data: {utility: mmlu, hazard: {source: wmdp, topics: [bio]}}\n"
    )
    with download_hub(monkeypatch, tmp_path / "hub") as hub:
        mmlu = real.lines(tmp_path / "mmlu.jsonl", real.MMLU).read_bytes()
        commit = hub.push("datasets/cais/mmlu", {"all/test.jsonl": mmlu, "all/dev.jsonl": mmlu, "other.bin": b"x"})
        hub.push("models/o/tiny", {path.name: path.read_bytes() for path in testbed.checkpoint().iterdir()})
        hub.push("datasets/cais/wmdp", {})
        hub.gated.add("datasets/cais/wmdp")
        first = fetched(monkeypatch, tmp_path)
        printed = capsys.readouterr()
        lines = printed.out.splitlines()
        assert printed.err == ""  # progress bars are for terminals
        assert first == 1 and lines[0] == f"utility: cais/mmlu@{commit}, {_size(mmlu)}, {len(real.MMLU)} records"
        assert lines[1].startswith("hazard: missing: cais/wmdp is gated; accept its conditions on huggingface.co/")
        assert lines[2].startswith("model: o/tiny@")
        hub.gated.clear()
        hub.push("datasets/cais/wmdp", {"wmdp-bio/test.jsonl": _vials(tmp_path)})
        hub.asked.clear()
        assert fetched(monkeypatch, tmp_path) == 0
        assert not [path for path in hub.asked if "safetensors" in path or "mmlu/resolve" in path]  # it was there
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert Sweep.open(read_spec(tmp_path / "spec.yaml")[0]).data.commits.keys() == {"utility", "hazard"}


def fetched(monkeypatch: pytest.MonkeyPatch, folder: Path) -> int:
    monkeypatch.setattr(sys, "argv", ["rayci", "data", "fetch", str(folder / "spec.yaml")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def _size(content: bytes) -> str:
    return size(len(content))


def _vials(folder: Path) -> bytes:
    return real.lines(folder / "bio.jsonl", [real.question("bio", number) for number in range(4)]).read_bytes()
