"""Edit batches one after the other, from the plan to the rows: without Ray, on the testbed."""

from __future__ import annotations

from pathlib import Path

import torch

from rayci import table
from rayci.context import Context, edit_batch
from rayci.criteria.editing import EditSuccess
from rayci.data.records import Collection
from rayci.interventions.editing.finetuning import FineTuning
from rayci.model import loading
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.running.runner import Runner
from rayci.storage.stages import StageStore
from rayci.testbed import collection
from tests.models import testbed, weights

SIZE, REPLICATES = 4, 2
SPEC = Spec.model_validate(
    {
        "name": "in_turn",
        "interventions": {"ft": {"steps": 3}},
        "compose": {"pairs": "none", "singles": False, "also": ["ft > ft{batch=1} > ft{batch=2}"]},
        "criteria": ["edit_success", {"edit_nll": {"batch": 2}}, "edit_nll{batch=0}"],
        "edit_batch": SIZE,
        "replicates": REPLICATES,
    }
)


def batch(number: int) -> Context:
    """A context whose only edits are those of one batch."""
    edits = edit_batch(collection(), 0, number, SIZE)
    return Context(Collection(edits=edits, arranged=frozenset({"edits"})), batch_size=SIZE)


def test_every_batch_is_applied_and_measured_after_every_step(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    sweep = Sweep.open(SPEC)
    active = Runner(sweep, loading.load(sweep.folder), StageStore(tmp_path / "store"), tmp_path)
    for trial in sweep.planner.plan().trials:
        owned = [trial.id] * len(trial.stages)
        assert not any(report.failure for report in active.run(trial, owned, [False] * len(trial.stages)))
        assert trial.replicate is not None
        subject = testbed()
        for place in range(3):
            subject.apply(FineTuning.configure("testbed", settings={"steps": 3}), batch(trial.replicate + 2 * place))
        now = weights(active.subject)
        assert all(torch.equal(now[name], value) for name, value in weights(subject).items())
        assert EditSuccess().measure(subject, batch(trial.replicate)).value == _value(tmp_path, trial.replicate)
    rows = table.read(tmp_path).frame
    assert len(rows) == 3 * REPLICATES * 4
    first = rows[(rows.criterion == "edit_nll{batch=0}") & (rows.replicate == 1)].sort_values("stage").value
    assert first.diff().idxmin() == first.index[1]  # the first batch is learned by the first step
    fitted = rows[(rows.criterion == "edit_nll") & (rows.replicate == 1)].sort_values("stage").value
    assert fitted.idxmin() == fitted.index[-1]  # the third batch is learned by the third step


def _value(place: Path, replicate: int) -> float:
    """Success of the first batch after the last step."""
    rows = table.read(place).frame
    asked = (rows.criterion == "edit_success") & (rows.replicate == replicate) & (rows.stage == 3)
    (value,) = rows[asked].value
    return float(value)
