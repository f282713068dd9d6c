"""What MEMIT builds from a stage is built once in a sweep, whoever needs it, and changes no bit of a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rayci.interventions.editing import key_covariances
from rayci.planning.composition import parse
from rayci.planning.spec import Spec
from rayci.storage.stages import StageStore
from rayci.workload import Workload
from tests.models import testbed
from tests.running.test_runner import comparable, own_criteria, run_all, runner

__all__ = ["own_criteria"]


def spec(**memit: Any) -> Spec:
    settings = {"passes": 2, "documents": 60, "contexts": ["{}"], **memit}
    return Spec.model_validate(
        {
            "name": "t",
            "interventions": {"memit": settings, "magnitude": {"sparsity": 0.5}},
            "compose": {"pairs": "across_kinds", "orders": "both"},
            "criteria": ["weights_digest"],
            "recompress": "never",
            "edit_batch": 2,
            "replicates": 3,
        }
    )


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that covariances are built."""
    found: list[int] = []
    build = key_covariances.covariances

    def counted(*arguments: Any) -> Any:
        found.append(1)
        return build(*arguments)

    monkeypatch.setattr(key_covariances, "covariances", counted)
    return found


def test_covariances_are_built_once_for_each_model_that_is_edited(tmp_path: Path, built: list[int]) -> None:
    made, reports = run_all(runner(tmp_path / "one", spec()))
    edits = [stage for stage in made.stages.values() if stage.chain.endswith("memit")]
    assert len(edits) == 6 and sum(report.applied for report in reports) >= 6
    assert len(built) == 2, "of the untouched model and of the compressed one, not one for each batch of edits"
    store = StageStore(tmp_path / "one" / "store")
    run_all(runner(tmp_path / "other λ", spec(covariance_weight=1.0), store=store))
    assert len(built) == 2, "a later run in the same store builds none"
    run_all(runner(tmp_path / "scratch", spec(), sharing=False))
    pd.testing.assert_frame_equal(comparable(tmp_path / "one"), comparable(tmp_path / "scratch"))
    (found,) = {path.stat().st_size for path in (tmp_path / "one" / "store").rglob("object-*-weights.safetensors")}
    foreseen = made.spec.configure(parse("memit").steps[0]).built_bytes(Workload(testbed()))
    assert foreseen < found < foreseen + 1000
