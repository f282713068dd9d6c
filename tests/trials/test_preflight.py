"""Before the first trial: what is wrong with a type of node is told at once, and what was measured is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
import ray
import torch

from rayci.errors import Faults, RequestError
from rayci.forecast.rates import Rates, saved
from rayci.planning.spec import Spec
from rayci.running.machine_checks import Finding
from rayci.running.node_report import Needs, NodeReport
from rayci.running.rows import versions
from rayci.trials import launch, node_types, preflight
from rayci.trials.capacity import Capacity, Place
from rayci.trials.node_types import NodeType, types_of
from rayci.trials.preflight import Answer, faults, notes

SMALL = Place("node 10.0.0.1", {"CPU": 8, "GPU": 1, "memory": 1e9, "node:10.0.0.1": 1}, "a")
SAME = Place("node 10.0.0.2", {"CPU": 8, "GPU": 1, "memory": 1.1e9, "node:10.0.0.2": 1}, "b")
OTHER = Place("node 10.0.0.3", {"CPU": 8, "GPU": 1, "accelerator_type:A100": 1}, "c")
HEAD = Place("node 10.0.0.0", {"CPU": 0}, "d")
FINE = NodeReport((Finding("model", "ok", "/m"),), None, versions(), began=100.0, ended=110.0)
ANSWER = Answer(NodeType([SMALL, SAME]), sent=99.0, received=111.0, report=FINE)


def test_equal_nodes_are_one_type_and_those_that_hold_no_trial_are_left_alone() -> None:
    types = types_of([HEAD, SMALL, OTHER, SAME], {"CPU": 1, "GPU": 0.5})
    assert [each.name for each in types] == ["node 10.0.0.1 (and 1 like it)", "node 10.0.0.3"]
    assert types[0].at_once({"CPU": 1, "GPU": 0.5}) == 2 and types[0].at_once({"CPU": 1, "GPU": 0.0}) == 8
    assert types_of([HEAD, SMALL], {"CPU": 1, "GPU": 2}) == []


@pytest.mark.parametrize(
    ("ahead", "said"),
    [(0, None), (59, None), (75, "at least 74 s ahead of"), (-59, None), (-75, "at least 74 s behind")],
)
def test_a_clock_that_is_certainly_wrong(ahead: float, said: str | None) -> None:
    report = replace(FINE, began=FINE.began + ahead, ended=FINE.ended + ahead)
    found = [str(fault) for fault in faults([replace(ANSWER, report=report)])]
    assert found == [] if said is None else f"clock on {ANSWER.of.name}: {said}" in found[0]


def test_faults_name_the_nodes_and_the_remedy_and_notes_do_not_stop() -> None:
    findings = (Finding("GPU", "problem", "none", "a driver"), Finding("disk", "note", "little", "more"))
    bad = replace(ANSWER, report=replace(FINE, findings=findings, versions="{}"))
    silent = replace(ANSWER, of=NodeType([OTHER]), report=None)
    broken = replace(silent, failure="No module named 'rayci'")
    assert [fault.problem for fault in faults([ANSWER, bad, silent, broken])] == [
        "GPU on node 10.0.0.1 (and 1 like it): none",
        "no trial can start on node 10.0.0.3: No module named 'rayci'",
    ]
    assert "a driver; --no-preflight" in str(next(faults([bad])).hint)
    told = list(notes([ANSWER, bad, silent]))
    assert len(told) == 3 and told[0].startswith("node 10.0.0.1 (and 1 like it) has {}")
    assert told[1] == "disk on node 10.0.0.1 (and 1 like it): little; more" and "did not answer" in told[2]


def spec(folder: Path, resources: str) -> Path:
    path = folder / "s.yaml"
    path.write_text(f"interventions: {{rtn: {{bits: 4}}}}\ncriteria: [avg_bits]\nresources: {resources}\n")
    return path


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's cache in which nothing was measured yet."""
    monkeypatch.setenv("RAYCI_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize("shared", [False, True])
def test_a_machine_that_lacks_room_is_refused_before_ray_and_before_anything_is_written(
    shared: bool, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fresh / "shared" if shared else None
    monkeypatch.setattr("rayci.running.machine_checks.host_bytes", lambda: 1000)
    monkeypatch.setattr("rayci.trials.session.connected", lambda *_, **__: pytest.fail("Ray was started"))
    asked = spec(fresh, "{cpus: 1}")
    with pytest.raises(RequestError, match="memory on this machine: 1000 B, less than") as error:
        launch(asked, out=fresh / "run", store=store)
    assert "--no-preflight" in str(error.value.hint) and list(fresh.iterdir()) == [asked]
    with pytest.raises(pytest.fail.Exception, match="Ray was started"):
        launch(asked, out=fresh / "run", preflight=False)


@pytest.fixture(scope="module")
def declared() -> Iterator[None]:
    """A Ray of the caller's that was told of GPUs which are not there."""
    ray.init("local", num_cpus=1, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.skipif(torch.cuda.is_available(), reason="looks for a GPU where there is none")
def test_nodes_are_looked_at_by_ray(declared: None, fresh: Path) -> None:
    with pytest.raises(RequestError, match=r"GPU on node [0-9.]+: none that CUDA can use") as error:
        launch(spec(fresh, "{gpus: 0.5}"), out=fresh / "run")
    assert not isinstance(error.value, Faults) and not (fresh / "run").exists()

    run = launch(spec(fresh, "{gpus: 0.5, device: cpu}"), out=fresh / "run")
    (rates,) = saved(fresh / "run")
    assert run.complete and run.notes == () and rates.kind == "cpu"
    (kept,) = (fresh / "cache" / "rates").iterdir()
    assert saved(kept) == [rates]


def test_what_was_measured_lately_is_not_measured_again(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = Rates.of(dict.fromkeys((field.name for field in fields(Rates)), 1))
    asked: list[bool] = []

    def looked(needs: Needs, at_once: int, *, measured: bool) -> NodeReport:
        asked.append(measured)
        now = time.time()
        return replace(FINE, rates=rates if measured else None, began=now, ended=now)

    monkeypatch.setattr(preflight, "report", looked)
    needs = Needs(
        Spec.model_validate({"name": "t", "interventions": {"rtn": {"bits": 4}}, "criteria": ["avg_bits"]}),
        commit=None, store=str(fresh / "run"), gpu=False, share=0, workers=1,
        device_bytes=None, host_bytes=None, disk_bytes=None,
    )  # fmt: skip
    here = Capacity([Place("this machine", {"CPU": 2, "GPU": 0})])
    for _ in range(2):
        assert preflight.preflight(here, needs, {"CPU": 1, "GPU": 0}).rates == [rates]
    (kept,) = (fresh / "cache" / "rates").glob("*/probe.json")
    yesterday = time.time() - node_types.FRESH - 1
    os.utime(kept, (yesterday, yesterday))
    assert preflight.preflight(here, needs, {"CPU": 1, "GPU": 0}).rates == [rates]
    assert asked == [True, False, True]
    assert preflight.preflight(Capacity([HEAD], [SMALL]), needs, {"CPU": 1, "GPU": 0}).notes == [
        "node 10.0.0.1 was not up before the first trial: it was not checked"
    ]
    types = [Place("a node of type small", {"CPU": 2}), Place("a node of type tiny", {"CPU": 0.5})]
    assert preflight.preflight(replace(here, types=types), needs, {"CPU": 1, "GPU": 0}).notes == []
