"""Out of memory: smaller batches first, then whoever called decides, at last a failed row."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from rayci import registry, table
from rayci.context import Context
from rayci.criterion import Criterion, Reading
from rayci.errors import InterventionError, OutOfMemory
from rayci.intervention import Compressor, Intervention, Receipt
from rayci.interventions.editing.finetuning import FineTuning
from rayci.kinds import UNIT_INTERVAL, Kind, Scale
from rayci.model import loading
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.running.out_of_memory import ran_out, smaller
from rayci.running.runner import Runner, StageReport
from rayci.settings import ForwardBatch
from rayci.storage.stages import StageStore
from rayci.subject import Subject


def allocate(batch: int, fits: int) -> None:
    """Asks torch for more than any machine has, unless the batch is small enough."""
    torch.empty(2**50 if batch > fits else 1)


class Hungry(Intervention):
    """Writes to one weight, then needs memory; dirty when it fails."""

    name: ClassVar[str] = "hungry"
    kind: ClassVar[Kind] = Kind.EDIT
    forward_batch: ForwardBatch = 8
    fits: int = 2

    def apply(self, subject: Subject, context: Context) -> Receipt:
        name, weight = next(iter(subject.model.named_parameters()))
        with torch.no_grad():
            weight.add_(1.0)
        allocate(self.forward_batch, self.fits)
        return Receipt((name,))


class HungryAgain(Compressor):
    """A compressor that needs memory by the batch, and only when it is re-projected."""

    name: ClassVar[str] = "hungry_again"
    kind: ClassVar[Kind] = Kind.COMPRESS
    forward_batch: ForwardBatch = 8
    fits: int = 2

    def apply(self, subject: Subject, context: Context) -> Receipt:
        return Receipt((next(iter(subject.model.named_parameters()))[0],))

    def reproject(self, subject: Subject, receipt: Receipt) -> Receipt:
        allocate(self.forward_batch, self.fits)
        return receipt

    def nominal_bits(self) -> float:
        return 32.0

    def measured_bits(self, linear: str, weight: Tensor, receipt: Receipt) -> Tensor:
        return torch.full_like(weight, 32.0)


class HungryCriterion(Criterion):
    """Needs memory by the batch."""

    name: ClassVar[str] = "hungry_criterion"
    scale: ClassVar[Scale] = UNIT_INTERVAL
    forward_batch: ForwardBatch = 8
    fits: int = 2

    def measure(self, subject: Subject, context: Context) -> Reading:
        allocate(self.forward_batch, self.fits)
        return Reading(1.0, 1)


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.INTERVENTIONS, "hungry", f"{__name__}:Hungry")
    monkeypatch.setitem(registry.INTERVENTIONS, "hungry_again", f"{__name__}:HungryAgain")
    monkeypatch.setitem(registry.CRITERIA, "hungry_criterion", f"{__name__}:HungryCriterion")


def run(
    folder: Path, composition: str, *, no_more: str | None = "no node has more", criterion_fits: int = 2
) -> tuple[Runner, list[StageReport]]:
    values: dict[str, Any] = {
        "name": "t",
        "interventions": {"hungry": {}, "hungry_again": {}, "rtn": {"bits": 4}},
        "recompress": "reproject",
        "criteria": {"avg_bits": {}, "hungry_criterion": {"fits": criterion_fits}},
    }
    sweep = Sweep.open(Spec.model_validate(values))
    active = Runner(sweep, loading.load(sweep.folder), StageStore(folder / "store"), folder)
    trial = sweep.planner.trial(composition, 0, 0)
    return active, list(active.run(trial, ["a"] * 9, [False] * 9, no_more=no_more))


def test_what_counts_as_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as error:
        allocate(2, 1)
    assert ran_out(error.value) and ran_out(MemoryError()) and ran_out(torch.OutOfMemoryError())
    assert not ran_out(RuntimeError("size mismatch"))
    assert not ran_out(InterventionError("out of memory"))  # said on purpose, by a method


def test_halves_every_batch_and_nothing_else() -> None:
    found = smaller(Hungry(forward_batch=5))
    assert found is not None
    assert found[0] == Hungry(forward_batch=2) and found[1] == "forward_batch = 2"
    assert smaller(Hungry(forward_batch=1)) is None


def test_halving_ends_where_smaller_passes_save_nothing() -> None:
    tried, made = [], FineTuning(micro_tokens=2000)
    while (found := smaller(made)) is not None:
        made = found[0]
        tried.append(made.micro_tokens)
    assert tried == [1000, 500]  # 250 would be below the least
    assert made.identity() == FineTuning().identity()


def test_smaller_batches_give_the_same_weights(tmp_path: Path) -> None:
    active, reports = run(tmp_path / "a", "rtn@4 > hungry")
    assert [report.failure for report in reports] == [None] * 4
    notes = [note for report in reports for note in report.notes]
    assert notes[:2] == ["hungry_criterion: out of memory, forward_batch = 4 is tried", notes[1]]
    assert "rtn@4 > hungry: out of memory, forward_batch = 4 is tried" in notes
    assert "rtn@4 > hungry: out of memory, forward_batch = 2 is tried" in notes
    assert len([note for note in notes if note.startswith("hungry_criterion")]) == 2  # and remembered
    assert set(table.read(tmp_path / "a").frame["status"]) == {"ok"}
    plenty, _ = run(tmp_path / "b", "rtn@4 > hungry{fits=8}", criterion_fits=8)
    for left, right in zip(active.subject.model.parameters(), plenty.subject.model.parameters(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("what", ["method", "criterion"])
def test_nothing_is_written_while_a_larger_share_may_help(what: str, tmp_path: Path) -> None:
    composition, fits = ("hungry{fits=0}", 2) if what == "method" else ("rtn@4", 0)
    with pytest.raises(OutOfMemory):
        run(tmp_path, composition, no_more=None, criterion_fits=fits)
    stages = set(table.read(tmp_path).frame["chain"]) if (tmp_path / "table").is_dir() else set()
    assert stages <= {""}


def test_the_last_try_is_a_failed_row(tmp_path: Path) -> None:
    active, reports = run(tmp_path, "hungry{fits=0} > rtn@4", criterion_fits=0)
    frame = table.read(tmp_path).frame.set_index(["chain", "criterion"])
    assert frame.loc[("", "avg_bits"), "status"] == "ok"
    assert "allocate memory" in frame.loc[("", "hungry_criterion"), "reason"]
    assert frame.loc[("hungry{fits=0}", "avg_bits"), "status"] == "failed"
    for row in [("", "hungry_criterion"), ("hungry{fits=0}", "avg_bits")]:
        assert frame.loc[row, "reason"].startswith("out of memory, and no node has more: RuntimeError: ")
    assert frame.loc[("hungry{fits=0} > rtn@4", "avg_bits"), "status"] == "skipped"
    assert reports[-1].failure is not None
    fresh = loading.load(active.sweep.folder)
    for left, right in zip(active.subject.model.parameters(), fresh.model.parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_re_projection_gets_smaller_batches_too(tmp_path: Path) -> None:
    _, reports = run(tmp_path / "a", "hungry_again > hungry{fits=8}")
    assert [report.failure for report in reports] == [None] * 4
    notes = [note for report in reports for note in report.notes if "reproject(hungry_again)" in note]
    assert [note.split(": ")[1] for note in notes] == [
        "out of memory, forward_batch = 4 is tried",
        "out of memory, forward_batch = 2 is tried",
    ]
    with pytest.raises(OutOfMemory, match="allocate memory"):
        run(tmp_path / "b", "hungry_again{fits=0} > hungry{fits=8}", no_more=None)
    _, reports = run(tmp_path / "c", "hungry_again{fits=0} > hungry{fits=8}")
    assert "allocate memory" in str(reports[-1].failure)
