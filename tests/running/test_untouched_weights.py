"""Criteria that compare with the untouched weights, in a run: values, reasons, and weights that stay as they are."""

from __future__ import annotations

from pathlib import Path

from rayci import table
from rayci.planning.spec import Spec
from tests.running.test_runner import run_all, runner

COMPARING = ["kl_to_base", "params_changed", "update_survival"]
METHODS = {"ft": {"layers": [1, 2], "lr": 1e-3, "steps": 2}, "rtn": {"bits": 4}}


def spec(*criteria: str) -> Spec:
    return Spec.model_validate(
        {
            "name": "t",
            "interventions": METHODS,
            "compose": {"pairs": "across_kinds", "orders": "both"},
            "criteria": list(criteria),
        }
    )


def test_they_have_values_where_they_apply_and_change_nothing(tmp_path: Path) -> None:
    run_all(runner(tmp_path / "one", spec(*COMPARING, "general_nll")))
    run_all(runner(tmp_path / "other", spec("general_nll")))
    frame = table.read(tmp_path / "one").frame
    rows = {(row.composition, row.criterion): row for row in frame.itertuples() if row.stage == 2 or not row.stage}
    assert rows["", "kl_to_base"].value == rows["", "params_changed"].value == 0
    for composition in ("ft > rtn@4", "rtn@4 > ft"):
        assert rows[composition, "kl_to_base"].value > 0
        assert 0.5 < rows[composition, "params_changed"].value < 1, "embeddings are as they were"
    assert 0 < rows["ft > rtn@4", "update_survival"].value < 1
    skipped = rows["rtn@4 > ft", "update_survival"]
    assert (skipped.status, skipped.reason) == ("skipped", "the last step is no quantiser")
    losses, alone = (
        run[run.criterion == "general_nll"].set_index("stage_fingerprint").value
        for run in (frame, table.read(tmp_path / "other").frame)
    )
    assert losses.sort_index().equals(alone.sort_index()), "a stage after such a measurement has the same weights"
