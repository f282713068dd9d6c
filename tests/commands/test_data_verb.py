"""`rayci data`: what a spec's data are, where they are, and what is to be fetched."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rayci.commands import cli
from tests.data import real_schemas as real

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
    """The rows that `rayci data` gives as JSON, by part; its exit code under the key `code`."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def run(spec: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["rayci", "data", spec, "--format", "json"])
        with pytest.raises(SystemExit) as stop:
            cli.main()
            raise SystemExit(0)
        return {**{row["part"]: row for row in json.loads(capsys.readouterr().out)}, "code": stop.value.code}

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


def test_the_testbed_is_all_there(told: Any) -> None:
    rows = told("quickstart")
    assert rows["code"] == 0 and rows["edits"]["records"] == 500


@pytest.mark.parametrize(("count", "release"), [(408, ", release of 2024-04-23"), (412, ", first release"), (9, "")])
def test_wmdp_is_told_by_its_release(count: int, release: str, told: Any, tmp_path: Path) -> None:
    file = real.lines(tmp_path / "wmdp-chem.jsonl", [real.question("chem", number) for number in range(count)])
    data = f"data: {{hazard: {{source: wmdp, topics: [chem], path: {file}}}}}\n"
    (tmp_path / "spec.yaml").write_text(f"interventions: {{ft: {{}}}}\ncriteria: [sparsity]\n{data}")
    assert told(str(tmp_path / "spec.yaml"))["hazard"]["source"] == f"{file}{release}"
