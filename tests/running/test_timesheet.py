"""Every second of a worker counts once: a clock that ticks at each look at it, and rows that add up to it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
import torch

from rayci import registry, table
from rayci.context import Context
from rayci.criterion import Criterion, Reading
from rayci.intervention import Intervention, Receipt
from rayci.kinds import UNIT_INTERVAL, Kind, Scale
from rayci.model import loading
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.running.runner import Runner
from rayci.running.timesheet import Activity, Timesheet, Visit
from rayci.storage.stages import StageStore
from rayci.subject import Subject
from rayci.workload import Workload


def ticking() -> Timesheet:
    """A timesheet whose clock has moved by one at each look."""
    ticks = count()
    return Timesheet(now=lambda: float(next(ticks)))


def test_the_inner_activity_counts() -> None:
    sheet = ticking()  # 0
    with sheet.on(Activity.LOAD) as outer:  # 1
        with sheet.on(Activity.APPLY) as inner:  # 2
            pass  # 3
        sheet.applied(7.0)
        with pytest.raises(KeyError), sheet.on(Activity.STORE):  # 4
            raise KeyError  # 5
    assert (outer.seconds, inner.seconds) == (3.0, 1.0)  # 6
    expected = Visit(
        load_seconds=3.0, apply_seconds=1.0, store_seconds=1.0, idle_seconds=2.0, apply_operations=7.0
    )  # 7
    assert sheet.visit(0.0) == expected
    assert sheet.visit(0.0) == Visit(
        load_seconds=0.0, apply_seconds=0.0, store_seconds=0.0, idle_seconds=1.0, apply_operations=0.0
    )


def test_work_that_led_to_no_row_is_load() -> None:
    sheet = ticking()
    for activity in (Activity.APPLY, Activity.MEASURE):
        with sheet.on(activity):
            pass
    sheet.applied(7.0)
    sheet.work_was_load()
    with sheet.on(Activity.MEASURE), sheet.on(Activity.MEASURE) as row:
        pass
    visit = sheet.visit(row.seconds)
    assert (visit.load_seconds, visit.apply_seconds, visit.apply_operations) == (4.0, 0.0, 0.0)


class Silent(Intervention):
    """Says nothing of its operations."""

    name: ClassVar[str] = "silent"
    kind: ClassVar[Kind] = Kind.UNLEARN

    def apply(self, subject: Subject, context: Context) -> Receipt:
        return Receipt(())


class Stating(Criterion):
    """Says an operation a question."""

    name: ClassVar[str] = "stating"
    needs: ClassVar[frozenset[str]] = frozenset({"hazard"})
    scale: ClassVar[Scale] = UNIT_INTERVAL

    def measure(self, subject: Subject, context: Context) -> Reading:
        return Reading(0.5, 1)

    def operations(self, work: Workload) -> float:
        return float(work.count("hazard"))


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.INTERVENTIONS, "silent", f"{__name__}:Silent")
    monkeypatch.setitem(registry.CRITERIA, "stating", f"{__name__}:Stating")


SPEC = Spec.model_validate(
    {
        "name": "t",
        "interventions": {"magnitude": {"sparsity": 0.5}, "rtn": {"bits": 4}, "silent": {}},
        "criteria": ["sparsity", "stating"],
    }
)
SECONDS = ["load_seconds", "apply_seconds", "store_seconds", "idle_seconds"]
Run = tuple[Runner, Timesheet]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Run]:
    sheet, sweep = ticking(), Sweep.open(SPEC)
    yield Runner(sweep, loading.load(sweep.folder), StageStore(tmp_path / "store"), tmp_path, sheet=sheet), sheet


def run(worker: Run, composition: str, keep: bool = False) -> pd.DataFrame:
    """The rows of the table then."""
    active = worker[0]
    trial = active.sweep.planner.trial(composition, 0, 0)
    list(active.run(trial, [trial.id] * len(trial.stages), [keep] * len(trial.stages)))
    return table.read(Path(str(active.results))).frame


def total(rows: pd.DataFrame) -> float:
    """Seconds of all visits."""
    visits = rows.groupby(["stage_fingerprint", "recorded_at"])[SECONDS].first()
    return float(visits.to_numpy().sum() + rows["measure_seconds"].sum())


def until_the_last_visit(sheet: Timesheet) -> float:
    """Ticks since the start, but those that no row has yet."""
    rest = sheet.visit(0.0)
    told = (rest.load_seconds, rest.apply_seconds, rest.store_seconds, rest.idle_seconds)
    return sheet.now() - 1 - sum(seconds or 0.0 for seconds in told)


def applied(rows: pd.DataFrame) -> dict[str, float]:
    """Seconds of applying by stage."""
    return dict(rows.groupby("chain")["apply_seconds"].first())


@pytest.mark.parametrize("keep", [False, True])
def test_the_rows_of_a_worker_add_up_to_its_time(worker: Run, keep: bool) -> None:
    run(worker, "magnitude@0.5 > rtn@4", keep)
    rows = run(worker, "magnitude@0.5 > silent", keep)
    assert total(rows) == until_the_last_visit(worker[1]) > 50
    assert (rows[SECONDS].groupby(rows["stage_fingerprint"]).nunique() == 1).all(axis=None)
    ticks = applied(rows)
    assert ticks.pop("") == 0.0 and set(ticks.values()) == {1.0}, "its last step alone, whatever led to it"
    assert len(ticks) == 4 and (rows["measure_seconds"] == 1.0).all()


def test_what_comes_out_of_the_store_took_no_time(worker: Run, tmp_path: Path) -> None:
    run(worker, "magnitude@0.5 > rtn@4", keep=True)
    for part in (tmp_path / "table").iterdir():
        part.unlink()
    again = Runner(worker[0].sweep, loading.load(worker[0].sweep.folder), worker[0].store, tmp_path, sheet=ticking())
    store, stage = worker[0].store, again.sweep.planner.trial("magnitude@0.5", 0, 0).stages[-1]
    store.forget_readings(stage.fingerprint, [again.sweep.criterion_fingerprint(again.sweep.criteria[0], None, None)])
    rows = run((again, again.sheet), "magnitude@0.5 > rtn@4", keep=True)
    assert set(applied(rows).values()) == {0.0} == set(rows["apply_operations"])
    measured = rows[rows["measure_seconds"] > 0]
    assert measured[["chain", "criterion"]].to_numpy().tolist() == [["magnitude@0.5", "sparsity"]]
    assert measured["load_seconds"].iloc[0] > 0 and set(rows.drop(measured.index)["measure_operations"]) == {0.0}
    assert total(rows) == until_the_last_visit(again.sheet)


def test_operations_stand_beside_the_seconds_that_they_took(worker: Run) -> None:
    worker[1].device_rate = 5e9
    rows = run(worker, "magnitude@0.5 > silent").set_index(["chain", "criterion"])
    assert set(rows["device_rate"]) == {5e9}
    sizes = Workload(worker[0].subject, SPEC.edit_batch, SPEC.replicates)
    assert rows.loc[("magnitude@0.5", "stating"), "apply_operations"] == float(sizes.pass_operations())
    assert rows.loc[("", "stating"), "apply_operations"] == 0.0
    assert pd.isna(rows.loc[("magnitude@0.5 > silent", "stating"), "apply_operations"]), "it says nothing"
    asked = len(worker[0].sweep.data.part("hazard"))
    assert set(rows.xs("stating", level="criterion")["measure_operations"]) == {float(asked)}, "of the data as they are"


@pytest.mark.gpu
def test_an_activity_ends_when_the_gpu_has_done_it() -> None:
    values = torch.ones(8192, 8192, device="cuda")
    with Timesheet().on(Activity.APPLY):
        for _ in range(100):
            values = values @ values
    assert torch.cuda.current_stream().query(), "all that was given to it is done"
