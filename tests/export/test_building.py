"""Stages built outside of their sweep: the same weights, from the store where it has them; nothing is written there."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

import rayci
from rayci.criteria.cost import Sparsity
from rayci.errors import InterventionError, RequestError
from rayci.export.building import build
from rayci.export.from_run import of_run, values
from rayci.export.wanted import Wanted, find, of_model
from rayci.model import loading
from rayci.running.runner import Runner
from rayci.storage.stages import StageStore
from tests.export import runs
from tests.models import weights


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "small"
    runs.make(root)
    return root


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    """The stage's weights as a sweep that shares nothing makes them."""
    sweep = runs.sweep()
    subject = loading.load(sweep.folder)
    for link in sweep.planner.chain(runs.CHAIN):
        subject.apply(link.intervention, sweep.context(1, 0), link.recompression)
    return weights(subject)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def listing(store: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_a_stage_of_a_run_goes_on_from_what_is_stored(run: Path, expected: dict[str, Tensor]) -> None:
    before = listing(run)
    wanted = of_run(run, only=runs.CHAIN, replicate=1)
    told: list[str] = []
    built = build(wanted, values=values(run, wanted), tell=told.append)
    assert built.applied == 1 and told == ["step 2 of 2: ft > rtn@4"]
    assert equal(weights(built.subject), expected)
    assert [step.intervention.name for step in built.origin.steps] == ["ft", "rtn"]
    assert {value.criterion: (value.untouched, value.n) for value in built.origin.values} == {
        "sparsity": (0.0, 393216), "avg_bits": (16.0, 393216)
    }  # fmt: skip
    assert listing(run) == before


def test_a_stored_stage_needs_no_step(run: Path) -> None:
    first = runs.trial(runs.sweep()).stages[1]
    built = build(of_run(run, stage=first.fingerprint[:12]))
    assert built.applied == 0 and built.origin.chain == "ft"


def test_what_the_store_has_freed_is_computed(run: Path, expected: dict[str, Tensor], tmp_path: Path) -> None:
    wanted = of_run(run, only=runs.CHAIN, replicate=1)
    built = build(Wanted(wanted.sweep, wanted.trial, wanted.depth, tmp_path / "no store"))
    assert built.applied == 2
    assert equal(weights(built.subject), expected)
    assert not (tmp_path / "no store").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stage": "nonsense"}, "no stages of small"),
        ({"stage": ""}, "no stages of small"),
        ({"only": runs.CHAIN, "replicate": 2}, "allowed: 0 to 1"),
        ({"only": "gptq@"}, "cannot read step"),
        ({}, "has 10 compositions"),
    ],
)
def test_stages_that_are_none(run: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        of_run(run, **arguments)  # type: ignore[arg-type]


def test_a_beginning_of_several_fingerprints_shows_them() -> None:
    sweep = runs.sweep()
    digests = sorted(sweep.planner.plan().stages)
    shared = next(a[0] for a, b in pairwise(digests) if a[0] == b[0])
    with pytest.raises(RequestError, match=r"stages of small .*\n.*\n  allowed: [0-9a-f]{12} ") as error:
        find(sweep, shared, None, 0, 0)
    assert error.value.hint == "more of it"


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is not a run folder"):
        of_run(tmp_path, only=runs.CHAIN)


def test_other_data_than_the_runs(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayci.planning.sweep.Sweep.fingerprint", "another")
    with pytest.raises(RequestError, match="are not those that it was run with"):
        of_run(run, only=runs.CHAIN)


def test_measured_values_stand_beside_the_untouched_models(tmp_path: Path) -> None:
    wanted = of_model("testbed", "magnitude@0.5 > rtn@4", criteria=["sparsity", "edit_locality_agreement"])
    built = build(wanted, measure=True)
    told = {value.criterion: (value.untouched, value.value) for value in built.origin.values}
    sparsity = Sparsity().measure(built.subject, wanted.sweep.context()).value
    assert told["sparsity"] == (0.0, sparsity)
    runner = Runner(wanted.sweep, loading.load(wanted.sweep.folder), StageStore(tmp_path / "store"), tmp_path)
    (*_, last) = runner.run(wanted.trial, [wanted.trial.id] * 3, [False] * 3)
    assert {name: value for name, (_, value) in told.items()} == dict(last.values)


def test_a_composition_on_a_model_is_what_apply_makes_of_it() -> None:
    chain, settings = "ft{steps=2} > gptq@3", {"gptq": {"group_size": 32, "sequences": 8}}
    built = build(of_model("testbed", chain, settings=settings, seed=3))
    assert equal(weights(built.subject), weights(rayci.apply("testbed", chain, settings=settings, seed=3)))


def test_a_step_that_fails_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = of_model("testbed", "magnitude@0.5 > rtn@4")
    monkeypatch.setattr("rayci.interventions.compression.rtn.asymmetric", lambda *_: 1 / 0)
    with pytest.raises(InterventionError, match=r"magnitude@0\.5 > rtn@4 failed: ZeroDivisionError"):
        build(wanted)
