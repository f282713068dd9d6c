"""A criterion is added to a finished sweep, changed or taken out: that alone is measured, and no other row changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pyarrow as pa
import pytest

from rayci import registry, table
from rayci.commands.summary import print_run
from rayci.context import Context
from rayci.criterion import Criterion, Reading
from rayci.errors import Inapplicable
from rayci.kinds import UNIT_INTERVAL, Scale
from rayci.planning.sweep import Sweep
from rayci.storage.compaction import COMPACTED
from rayci.subject import Subject
from rayci.trials import launch, run_folder
from rayci.trials.run_folder import RunFolder
from tests.command_line import rayci

from .conftest import TEN_TRIALS
from .test_damaged_runs import SPEC, again, run_here, subject, sweep, whole

__all__ = ["again", "subject", "sweep", "whole"]

MEASURED: list[str] = []
"""Chains on which the criterion below was asked."""


class Moody(Criterion):
    """Applies where zeros are, and fails where it is told to."""

    name: ClassVar[str] = "moody"
    scale: ClassVar[Scale] = UNIT_INTERVAL
    fails: ClassVar[bool] = True
    setting: int = 1

    def measure(self, subject: Subject, context: Context) -> Reading:
        chain = " > ".join(step.intervention.name for step in subject.applied)
        MEASURED.append(chain)
        if not chain:
            raise Inapplicable("nothing was done")
        if chain == "rtn" and self.fails:
            raise ValueError("not today")
        return Reading(0.5, 1)


@pytest.fixture(autouse=True)
def _moody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CRITERIA, "moody", f"{__name__}:Moody")
    monkeypatch.setattr(Moody, "fails", True)
    MEASURED.clear()


def with_criteria(*names: str, **settings: Any) -> Sweep:
    criteria = {**{name: {} for name in names}, **settings}
    return Sweep.open(SPEC.model_copy(update={"criteria": criteria}))


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of a finished run of `hazard` and `avg_bits`."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def files(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes() for name in ("table", "items") for path in (run / name).iterdir()
    }


def rows(run: Path, *criteria: str) -> pa.Table:
    """The rows of criteria, every cell, in the table's order."""
    arrow = table.read(run).arrow
    return arrow.filter(pa.compute.is_in(arrow.column("criterion"), pa.array(criteria)))


@pytest.mark.parametrize("compacted", [False, True])
def test_what_is_added_stands_beside_what_was_there(
    compacted: bool, run: Path, subject: Subject, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = sweep.planner.plan()
    if compacted:
        monkeypatch.setattr(run_folder, "FEW", 0)
        RunFolder(run).compact(plan)
    before, kept = files(run), rows(run, "hazard", "avg_bits")
    more = with_criteria("avg_bits", "moody")  # `hazard` is not asked for any more
    folder = run_here(more, subject, run)
    assert before.items() <= files(run).items() and not folder.notes
    assert rows(run, "hazard", "avg_bits").equals(kept)
    found = rows(run, "moody").to_pandas().set_index("chain")["status"]
    assert len(found) == len(MEASURED) == len(plan.stages)
    assert found[""] == "skipped" and (found[["rtn@3", "rtn@4"]] == "failed").all()
    assert folder.state()["state"] == "finished"
    folder.compact(more.planner.plan())
    assert not compacted or [path.name for path in (run / "table").glob("*.parquet")] == [COMPACTED]
    assert folder.state()["state"] == "finished" and rows(run, "hazard", "avg_bits").equals(kept)

    MEASURED.clear()
    for criteria in (("avg_bits", "moody"), ("hazard", "avg_bits"), ("moody",)):  # what comes back is there
        written = files(run)
        run_here(with_criteria(*criteria), subject, run)
        assert files(run) == written and not MEASURED


def test_failed_readings_alone_are_retried(run: Path, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    more = with_criteria("hazard", "avg_bits", "moody")
    run_here(more, subject, run)
    kept, others = rows(run, "hazard", "avg_bits"), rows(run, "moody").to_pandas()
    monkeypatch.setattr(Moody, "fails", False)
    MEASURED.clear()
    run_here(more, subject, run, retry_failed=True)
    assert MEASURED == ["rtn", "rtn"], "what does not apply did not fail"
    assert rows(run, "hazard", "avg_bits").equals(kept)
    now = rows(run, "moody").to_pandas()
    assert set(now["status"]) == {"ok", "skipped"}
    same = others["status"] != "failed"
    pd.testing.assert_frame_equal(now[same.to_numpy()], others[same.to_numpy()])


def test_what_does_not_apply_is_no_failure(
    run: Path, subject: Subject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Moody, "fails", False)
    more = with_criteria("avg_bits", "moody")
    run_here(more, subject, run)
    done = launch(more.spec, out=run)
    assert done.complete and not done.computed and not print_run(done, Path("s.yaml"))
    said = " ".join(capsys.readouterr().out.split())
    assert "distinct failures none" in said and "moody: 1 values, nothing was done" in said


def test_a_criterion_with_other_settings_is_measured_anew_and_the_old_rows_lie_aside(
    run: Path, subject: Subject
) -> None:
    run_here(with_criteria("hazard", "moody"), subject, run)
    kept, old = rows(run, "hazard", "avg_bits"), rows(run, "moody")
    MEASURED.clear()
    folder = run_here(with_criteria("hazard", moody={"setting": 2}), subject, run)
    assert len(MEASURED) == len(old) == len(folder.notes)
    assert all("its criteria (moody) were measured with other settings" in note for note in folder.notes)
    assert rows(run, "hazard", "avg_bits").equals(kept)
    assert set(rows(run, "moody").column("criterion_fingerprint").to_pylist()).isdisjoint(
        old.column("criterion_fingerprint").to_pylist()
    )
    aside = pa.concat_tables([table.read_part(path).rows for path in (run / "aside").iterdir()])
    assert aside.num_rows == len(old)


def test_added_to_a_finished_sweep_on_ray(undisturbed: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    stored = RunFolder(run).open_store()
    whole = {stage for stage in stored.stored() if stored.has_weights(stage)}
    freed = table.read(run).frame.set_index("chain").loc["gd > rtn@4", "stage_fingerprint"].iloc[0]
    stored.free_weights(freed)
    spec = tmp_path / "ten.yaml"
    spec.write_text(TEN_TRIALS.replace("avg_bits]", "avg_bits, sparsity, kl_to_base]"))
    foreseen = json.loads(rayci("plan", str(spec), "--out", str(run), "--format", "json").stdout)
    before, stages = files(run), table.read(run).frame["stage_fingerprint"].nunique()
    assert (foreseen["stages_done"], foreseen["readings_to_take"]) == (0, 2 * stages)
    assert len(whole) == stages - 1 and foreseen["steps_to_apply"] == 1, "all but one are to be loaded, none computed"
    assert 0 < foreseen["left_hours"] < foreseen["cpu_hours"]

    done = launch(spec, out=run, workers=1)
    assert done.complete and done.counts["applied"] == foreseen["steps_to_apply"]
    assert stored.stored() == whole - {freed}, "what is stored stays, whatever this run keeps"
    assert before.items() <= files(run).items()
    frame = table.read(run).frame.set_index(["criterion", "chain"])
    assert set(frame["status"]) == {"ok"} and len(frame.loc["kl_to_base"]) == stages
    assert frame.loc[("kl_to_base", ""), "value"] == 0 < frame.loc[("kl_to_base", "rtn@4"), "value"]
    assert frame.loc[("sparsity", "wanda@0.5"), "value"] == pytest.approx(0.5)

    left = json.loads(rayci("plan", str(spec), "--out", str(run), "--format", "json").stdout)
    assert (left["stages_done"], left["steps_to_apply"], left["readings_to_take"]) == (stages, 0, 0)
    again = launch(spec, out=run)
    assert again.complete and not again.computed
