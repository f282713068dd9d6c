"""`data: published` and the folder of downloads that RAYCI_DATA names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rayci.data import asked, collect
from rayci.data.data_presets import PUBLISHED
from rayci.data.records import PARTS
from rayci.data.shared_runs import overlaps
from rayci.errors import RequestError, each
from rayci.planning import spec as specs
from rayci.planning.yaml_source import Source
from tests.data import published_folder
from tests.data import real_schemas as real


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("RAYCI_DATA", raising=False)


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYCI_DATA", str(tmp_path / "downloads"))
    return published_folder.fill(tmp_path / "downloads")


def spec(data: Any, *criteria: str, **more: Any) -> specs.Spec:
    values = {"name": "s", "model": "gpt2", "interventions": {"wanda": {"sparsity": 0.5}}, "criteria": list(criteria)}
    return specs.from_source(Source("s", {**values, "data": data, **more}, {}))


def test_the_published_parts_from_a_folder_of_downloads(downloads: Path) -> None:
    data = collect("published", "gpt2")
    assert data.supplied == [part for part in PARTS if part in PUBLISHED.parts]
    assert data.sources["edits"] == str(downloads / "zsre" / "zsre_mend_train.json")
    assert [document.topic for document in data.forget] == ["bio", "cyber"]
    assert {question.topic for question in data.hazard} == {"bio", "cyber"}
    assert len(data.evaluation) == len(real.WIKITEXT) and data.commits == {}
    assert len(data.finetune) == 9 and not overlaps(data, PUBLISHED.allow_overlap)  # of the train split, no headings


def test_one_part_may_be_another(downloads: Path) -> None:
    own = real.lines(downloads / "own.jsonl", [{"text": "a text of one's own"}])
    data = {"preset": "published", "utility": {"source": "mmlu", "limit": 3}, "calibration": str(own)}
    held = collect(data, "gpt2")
    assert len(held.utility) == 3 and held.calibration[0].text == "a text of one's own"
    assert held.hazard == collect("published", "gpt2").hazard


def test_what_nothing_reads_is_not_looked_for() -> None:
    reads = spec("published", "perplexity").reads()
    assert reads == {"calibration", "evaluation"}
    assert list(asked("published", reads)) == ["calibration", "evaluation"]
    assert list(asked({"edits": "zsre"}, reads)) == ["edits"]  # what a spec names itself is always read
    assert spec("published", "perplexity", compose={"also": ["memit"]}).reads() >= {"covariance_text", "edits"}


def test_all_that_is_missing_is_said_at_once() -> None:
    with pytest.raises(RequestError) as error:
        collect("published", "gpt2")
    assert {fault.key[0] for fault in each(error.value)} == set(PUBLISHED.parts)


@pytest.mark.parametrize("data", [{"preset": "publshed"}, {"preset": 3}])
def test_an_unknown_preset(data: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="no preset of data") as error:
        asked(data)
    assert error.value.allowed == "published" and error.value.key == ("preset",)


def test_the_folder_itself_holds_files_under_their_own_names_alone(downloads: Path) -> None:
    (downloads / "zsre").rename(downloads / "aside")
    (downloads / "aside" / "zsre_mend_train.json").rename(downloads / "zsre_mend_train.json")
    assert collect("published", "gpt2", reads={"edits"}).sources["edits"] == str(downloads / "zsre_mend_train.json")
    (downloads / "mmlu").rename(downloads / "other")
    real.lines(downloads / "test.jsonl", real.MMLU)  # might be anyone's
    with pytest.raises(RequestError, match="cais/mmlu is not"):
        collect("published", "gpt2", reads={"utility"})


def test_a_revision_is_not_taken_from_the_folder(downloads: Path) -> None:
    with pytest.raises(RequestError, match="cais/mmlu is not"):
        collect({"utility": {"source": "mmlu", "revision": "v1"}}, "gpt2")


def test_a_variable_that_names_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYCI_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(RequestError, match="RAYCI_DATA names no folder"):
        collect("published", "gpt2", reads={"utility"})


def test_overlaps_allowed_are_those_of_spec_and_preset() -> None:
    own = spec({"utility": "mmlu"}, "mmlu", allow_overlap=[["retain", "calibration"]])
    assert own.overlaps_allowed() == [("calibration", "retain")]
    both = spec("published", "mmlu", allow_overlap=[["evaluation", "retain"]]).overlaps_allowed()
    assert ("evaluation", "retain") in both and len(both) == len(PUBLISHED.allow_overlap)
    with pytest.raises(RequestError, match="no data part 'retian', try retain"):
        spec("published", "mmlu", allow_overlap=[["retian", "evaluation"]])
