"""What cannot be applied is told before anything is, and the way to a stage is the shortest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from rayci import registry, table
from rayci.context import Context
from rayci.errors import RequestError
from rayci.intervention import Intervention, Receipt
from rayci.kinds import Kind
from rayci.model import loading
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.running.position import Position
from rayci.running.runner import Runner
from rayci.storage import tensor_files
from rayci.storage.room import RECEIPTS, WEIGHTS, folder
from rayci.storage.stages import StageStore
from rayci.subject import Subject
from tests.models import differing, weights


class Picky(Intervention):
    """Refuses any model with weights, so that the driver, which has none, cannot know."""

    name: ClassVar[str] = "picky"
    kind: ClassVar[Kind] = Kind.EDIT

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        if subject.has_weights:
            yield RequestError(f"refused after {len(subject.applied)} steps", allowed="nothing")
            yield RequestError("for a second reason")

    def apply(self, subject: Subject, context: Context) -> Receipt:
        raise AssertionError("applied")


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.INTERVENTIONS, "picky", f"{__name__}:Picky")


def opened() -> Sweep:
    chosen = {"magnitude": {"sparsity": 0.5}, "picky": {}, "rtn": {"bits": 4}}
    return Sweep.open(Spec.model_validate({"name": "t", "interventions": chosen, "criteria": ["sparsity"]}))


def test_a_refused_step_is_a_failed_row_found_before_the_first_is_applied(tmp_path: Path) -> None:
    sweep = opened()
    active = Runner(sweep, loading.load(sweep.folder), StageStore(tmp_path / "store"), tmp_path)
    trial = sweep.planner.trial("magnitude@0.5 > picky > rtn@4", 0, 0)
    reports = list(active.run(trial, ["a"] * 9, [False] * 9))
    assert [report.applied for report in reports] == [0, 1, 0, 0, 0]
    frame = table.read(tmp_path).frame.sort_values("stage")
    assert list(frame["status"]) == ["ok", "ok", "failed", "skipped", "skipped"]
    assert frame["reason"].iloc[2] == "refused after 0 steps allowed: nothing; for a second reason"


def test_debugging_shows_the_refusal_itself(tmp_path: Path) -> None:
    sweep = opened()
    position = Position(sweep, loading.load(sweep.folder), StageStore(tmp_path / "store"), debug=True)
    with pytest.raises(RequestError, match="for a second reason"):
        position.refusals(sweep.planner.trial("picky", 0, 0), 0)


def test_the_way_begins_where_the_subject_stands_or_at_what_is_stored(tmp_path: Path) -> None:
    sweep = opened()
    position = Position(sweep, loading.load(sweep.folder), StageStore(tmp_path / "store"))
    trial = sweep.planner.trial("magnitude@0.5 > rtn@4", 0, 0)
    keep = [False, True, False]
    assert position.reach(trial, 2, keep, no_more=None)[0] == 2
    assert position.reach(trial, 2, keep, no_more=None)[0] == 0
    assert position.reach(trial, 1, keep, no_more=None)[0] == 0  # stored on the way
    assert position.subject.pruned and len(position.subject.applied) == 1
    position.to_base()
    assert not position.subject.applied
    assert position.reach(trial, 2, keep, no_more=None)[0] == 1


@pytest.mark.parametrize("dense", [False, True])  # as stages lie in stores that were filled before there were forms
def test_a_stored_stage_is_bit_for_bit_what_was_applied(dense: bool, tmp_path: Path) -> None:
    sweep, store = opened(), StageStore(tmp_path / "store")
    position = Position(sweep, loading.load(sweep.folder), store)
    trial = sweep.planner.trial("magnitude@0.5 > rtn@4", 0, 0)
    subject, stage = position.subject, trial.stages[2]
    position.reach(trial, 2, [False] * 3, no_more=None)
    expected = weights(subject)
    if dense:
        tensors = {name: value.detach().clone() for name, value in subject.parameters_of(subject.changed()).items()}
        digest = tensor_files.write(store._files, f"{folder(stage.fingerprint)}/{WEIGHTS}", tensors)
        plain = [{"changed": receipt.changed, "counts": {}, "retries": (), "notes": ()} for receipt in subject.receipts]
        known = {"sha256": digest, "bytes": tensor_files.most_bytes(tensors), "receipts": plain}
        store._write(stage.fingerprint, RECEIPTS, known)
    else:
        position.keep(stage)
    position.to_base()
    assert differing(subject, expected)
    assert position.reach(trial, 2, [False] * 3, no_more=None)[0] == 0
    assert not differing(subject, expected) and len(subject.applied) == 2
    position.to_base()
    assert not differing(subject, weights(loading.load(sweep.folder)))
