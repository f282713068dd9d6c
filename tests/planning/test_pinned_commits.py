"""What came from the hub is read again at the commit at which the sweep was started, wherever its branch is now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rayci import testbed
from rayci.data import collect
from rayci.data.relocation import pinned
from rayci.errors import RequestError, each
from rayci.export.from_run import of_run
from rayci.export.reproduction import reproduce
from rayci.export.wanted import of_model
from rayci.planning import spec as specs
from rayci.planning.faults import Examination
from rayci.planning.sweep import Sweep
from rayci.planning.yaml_source import Source
from rayci.running.rows import versions
from rayci.trials.run_folder import RunFolder
from tests.data import real_schemas as real
from tests.data.download_hub import DownloadHub, download_hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DownloadHub]:
    monkeypatch.delenv("RAYCI_DATA", raising=False)
    with download_hub(monkeypatch, tmp_path / "cache") as running:
        yield running


def mmlu(folder: Path, count: int) -> dict[str, bytes]:
    return {"all/test.jsonl": real.lines(folder / "mmlu.jsonl", real.MMLU[:count]).read_bytes()}


def files_of_the_testbed() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in testbed.checkpoint().iterdir()}


def spec(**changed: Any) -> specs.Spec:
    values = {"name": "s", "interventions": {"rtn": {"bits": 4}}, "criteria": ["mmlu"], **changed}
    return specs.from_source(Source("s", values, {}))


def test_a_branch_that_moves_gives_a_worker_no_other_data(hub: DownloadHub, tmp_path: Path) -> None:
    first = hub.push("datasets/cais/mmlu", mmlu(tmp_path, 4))
    sweep = Sweep.open(spec(data={"utility": "mmlu"}))
    hub.push("datasets/cais/mmlu", mmlu(tmp_path, 8))
    assert sweep.spec.data == {"utility": {"source": "mmlu", "revision": {"cais/mmlu": first}}}
    assert collect(sweep.spec.data, "testbed") == sweep.data
    assert len(Sweep.open(spec(data={"utility": "mmlu"})).data.utility) == 8
    assert json.loads(versions(sweep.fetched))["data"] == [f"cais/mmlu@{first}"]


def test_a_branch_that_moves_gives_a_worker_no_other_model(hub: DownloadHub) -> None:
    files = files_of_the_testbed()
    first = hub.push("models/o/tiny", files)
    sweep = Sweep.open(spec(model="o/tiny", data="testbed", criteria=["perplexity"]))
    hub.push("models/o/tiny", {**files, "generation_config.json": b'{"do_sample": true}'})
    assert Sweep.open(sweep.spec, hashed=sweep.hashes, commit=sweep.commit).model() == sweep.model()
    with pytest.raises(RequestError, match=r"generation_config\.json"):
        Sweep.open(sweep.spec, hashed=sweep.hashes)
    assert (sweep.spec.model, sweep.fetched) == ("o/tiny", (f"o/tiny@{first}",))  # rows name the model as asked


def test_a_branch_that_moves_gives_apply_no_other_model(hub: DownloadHub, tmp_path: Path) -> None:
    files = files_of_the_testbed()
    first = hub.push("models/o/tiny", files)
    sweep = Sweep.open(spec(model="o/tiny", data="testbed", criteria=["perplexity"]))
    plan = sweep.planner.plan()
    RunFolder(tmp_path / "run").describe(sweep, plan, plan)
    hub.push("models/o/tiny", {**files, "generation_config.json": b'{"do_sample": true}'})
    wanted = of_run(tmp_path / "run", only="rtn@4")
    assert wanted.stage.fingerprint == sweep.planner.trial("rtn@4", 0, 0).stages[-1].fingerprint
    assert f"model: o/tiny@{first}" in reproduce(wanted)


def test_all_is_checked_before_weights_are_fetched(hub: DownloadHub) -> None:
    hub.push("models/o/tiny", files_of_the_testbed())
    asked = spec(model="o/tiny", data={"utility": "mmlu"}, interventions={"rmu": {"layer": 99}})
    told = "\n".join(map(str, Examination.of(asked).faults()))
    assert "there is no dataset cais/mmlu" in told and "99" in told
    assert not [path for path in hub.asked if path.endswith(".safetensors")]


def test_a_plan_says_what_the_hub_would_refuse(hub: DownloadHub) -> None:
    hub.push("models/o/tiny", {})
    hub.gated.add("models/o/tiny")
    notes = Examination.of(spec(model="o/tiny", data={"utility": "mmlu"}), elsewhere=True).unknown()
    assert any("data (utility)" in note for note in notes)
    assert any("o/tiny is gated" in note for note in notes) and any("no dataset cais/mmlu" in note for note in notes)


def test_every_place_of_a_part_is_pinned() -> None:
    data = {"preset": "published", "utility": "cais/mmlu@v1"}
    commits = {"forget": "o/a@1, o/b@2", "utility": "cais/mmlu@3"}
    written = pinned(data, commits)
    assert written["preset"] == "published" and written["calibration"] == "c4"
    assert written["forget"]["revision"] == {"o/a": "1", "o/b": "2"}
    assert written["utility"] == {"source": "cais/mmlu", "revision": {"cais/mmlu": "3"}}
    assert pinned("published", {}) == "published"


def test_a_composition_on_a_model_reads_of_the_published_data_what_it_needs(hub: DownloadHub) -> None:
    with pytest.raises(RequestError) as error:
        of_model("testbed", "wanda@0.5", data="published", criteria=["perplexity"])
    assert {str(fault.at) for fault in each(error.value)} == {"data.calibration", "data.evaluation"}
