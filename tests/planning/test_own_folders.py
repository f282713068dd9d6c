"""Folders that methods name: by content in every fingerprint, by commit where they came from the hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from rayci.errors import RequestError
from rayci.intervention import Intervention
from rayci.interventions.training.delta import Delta
from rayci.planning import own_folders
from rayci.planning import spec as specs
from rayci.planning.composition import parse
from rayci.planning.faults import Examination
from rayci.planning.sweep import Sweep
from rayci.planning.yaml_source import Source
from rayci.running.rows import versions
from rayci.trials.assignment import absolute
from rayci.workload import Workload
from tests.data.download_hub import DownloadHub, download_hub
from tests.interventions.delta_folders import noise, saved_difference
from tests.models import testbed


def differences(folder: Path, seed: int = 3) -> Path:
    made = noise(testbed(), seed=seed, names=["model.norm.weight"])
    return saved_difference(made, folder, rayci="difference")


def spec(source: Any, also: tuple[str, ...] = (), **changed: Any) -> specs.Spec:
    methods = {"delta": {"source": source, "scale": {"sweep": [0.5, 1]}}, "rtn": {"bits": 4}}
    values = {"name": "s", "interventions": methods, "criteria": ["sparsity"], "compose": {"also": also}, **changed}
    return specs.from_source(Source("s", values, {}))


def stages(sweep: Sweep) -> list[str]:
    return list(sweep.planner.plan().stages)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DownloadHub]:
    with download_hub(monkeypatch, tmp_path / "cache") as running:
        yield running


def pushed(hub: DownloadHub, folder: Path) -> str:
    return hub.push("models/o/change", {path.name: path.read_bytes() for path in folder.iterdir()})


def test_moving_a_source_changes_no_fingerprint_and_editing_it_changes_all(tmp_path: Path) -> None:
    folder = differences(tmp_path / "d")
    before = Sweep.open(spec(str(folder)))
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    after = Sweep.open(spec(str(moved)))
    assert (stages(after), after.fingerprint, after.content) == (stages(before), before.fingerprint, before.content)
    save_file(noise(testbed(), seed=4, names=["model.norm.weight"]), moved / "d.safetensors", {"rayci": "difference"})
    edited = Sweep.open(spec(str(moved)))
    shared = set(stages(edited)) & set(stages(before))
    assert len(shared) == 2 and edited.fingerprint != before.fingerprint  # the untouched model, and rtn@4 alone


def test_a_source_is_named_in_settings_sweeps_and_compositions(tmp_path: Path) -> None:
    one, other = differences(tmp_path / "one"), differences(tmp_path / "other", 4)
    asked = spec({"sweep": [str(one), str(other)]}, (f"delta@2{{source={other}}} > rtn@4", "ties{sources=[a, b]}"))
    assert set(own_folders.named(asked)) == {str(one), str(other), "a", "b"}
    told = own_folders.renamed(asked, lambda source, _: source.rpartition("/")[2].upper())
    assert told.interventions["delta"]["source"] == {"sweep": ["ONE", "OTHER"]}
    assert told.compose.also == ("delta@2{source=OTHER} > rtn@4", "ties{sources=[A, B]}")
    plain = specs.from_source(Source("s", {"interventions": {"rtn": {"bits": 4}}, "criteria": ["sparsity"]}, {}))
    assert own_folders.renamed(plain, lambda source, _: "x") is plain


def test_workers_are_told_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    differences(tmp_path / "d")
    monkeypatch.chdir(tmp_path)
    asked = absolute(spec("d"))
    assert asked.interventions["delta"]["source"] == str(tmp_path / "d")
    assert absolute(spec("owner/name")).interventions["delta"]["source"] == "owner/name"


def test_a_branch_that_moves_gives_a_worker_no_other_source(hub: DownloadHub, tmp_path: Path) -> None:
    first = pushed(hub, differences(tmp_path / "one"))
    sweep = Sweep.open(spec("o/change", ("delta@2{source=o/change}",)))
    assert sweep.spec.interventions["delta"]["source"] == f"o/change@{first}"
    assert sweep.spec.compose.also == (f"delta@2{{source=o/change@{first}}}",)
    assert json.loads(versions(sweep.fetched))["data"] == [f"o/change@{first}"]
    local = Sweep.open(spec(str(tmp_path / "one"), (f"delta@2{{source={tmp_path / 'one'}}}",)))
    assert stages(sweep) == stages(local)
    pushed(hub, differences(tmp_path / "two", 4))
    asked = len(hub.asked)
    assert Sweep.open(sweep.spec, hashed=sweep.hashes).content == sweep.content and len(hub.asked) == asked
    assert Sweep.open(spec("o/change")).fingerprint != sweep.fingerprint


def test_a_source_that_is_nowhere_is_a_fault_with_its_place(hub: DownloadHub, tmp_path: Path) -> None:
    for source, text in (("o/change", "there is no model o/change on the hub"), (str(tmp_path / "d"), "no folder")):
        with pytest.raises(RequestError, match=text) as error:
            Sweep.open(spec(source))
        assert error.value.at == "interventions.delta.source"


def test_a_plan_for_another_machine_fetches_nothing(hub: DownloadHub, tmp_path: Path) -> None:
    pushed(hub, differences(tmp_path / "one"))
    for source in ("o/change", "/only/on/the/cluster"):
        examined = Examination.of(spec(source), elsewhere=True)
        assert not list(examined.faults())
        assert f"not checked against {source}, not on this machine" in examined.unknown()
    assert not [path for path in hub.asked if path.endswith(".safetensors")]


def test_a_forecast_fetches_nothing(hub: DownloadHub, tmp_path: Path) -> None:
    pushed(hub, differences(tmp_path / "one"))
    subject = testbed()
    asked = spec("o/change", ("ties{sources=[o/change],density=1}",))
    for step in (*asked.variants("delta"), *parse(asked.compose.also[0]).steps):
        assert Workload(subject).changed_by(asked.configure(step)) == set(Intervention.changes(Delta(), subject))
    assert not hub.asked
