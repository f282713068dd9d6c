"""The Trainable in a Tuner of one's own, on GPUs that Ray is told of: packing and isolation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray import tune

from rayci import table
from rayci.errors import RequestError
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.trials import Assignment, CompositionTrial, trial_config

pytestmark = pytest.mark.slow

SPEC = Spec.model_validate(
    {
        "name": "own",
        "interventions": {"rtn": {"bits": {"sweep": [2, 3, 4]}}, "wanda": {"sparsity": {"sweep": [0.4, 0.5, 0.6]}}},
        "criteria": ["avg_bits"],
        "resources": {"gpus": 0.5, "device": "cpu"},
    }
)


@pytest.fixture(scope="module")
def two_gpus() -> Iterator[None]:
    """A Ray that was told of two GPUs; nothing computes on them."""
    ray.init("local", num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def fit(spec: Spec, folder: Path) -> tune.ResultGrid:
    plan = Sweep.open(spec).planner.plan()
    assignment = Assignment(spec, str(folder), str(folder / "store"))
    tuner = tune.Tuner(
        tune.with_parameters(CompositionTrial, assignment=assignment),
        param_space=tune.grid_search([trial_config(plan, trial) for trial in plan.trials]),
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
    )
    return tuner.fit()


def test_halves_of_two_gpus_run_four_trials_at_a_time(two_gpus: None, tmp_path: Path) -> None:
    results = fit(SPEC, tmp_path)
    assert not results.errors and len(results) == 6
    frame = results.get_dataframe()
    assert len(table.read(tmp_path).frame) == 7
    assert set(frame["criteria/avg_bits"].round(2)) >= {2.25, 3.25, 4.25}
    seen = {(row["worker"], row["gpus"]) for row in frame.to_dict("records")}
    assert {gpus for _, gpus in seen} == {"0", "1"}  # each worker sees the one GPU that it has half of
    assert all(count <= 2 for count in Counter(gpus for _, gpus in seen).values())


def test_a_whole_gpu_each(two_gpus: None, tmp_path: Path) -> None:
    whole = SPEC.resources.model_copy(update={"gpus": 2, "memory": 0.5})
    frame = fit(SPEC.model_copy(update={"resources": whole}), tmp_path).get_dataframe()
    assert set(frame["gpus"]) == {"0,1"}
    assert frame["worker"].nunique() == 1


@pytest.mark.parametrize("key", ["gpus", "memory"])
def test_what_is_automatic_needs_rayci_to_launch(key: str) -> None:
    automatic = SPEC.resources.model_copy(update={key: "auto"})
    plan = Sweep.open(SPEC.model_copy(update={"resources": automatic})).planner.plan()
    with pytest.raises(RequestError, match=f"{key}: auto"):
        trial_config(plan, plan.trials[0])
    given = trial_config(plan, plan.trials[0], resources={"CPU": 1, "GPU": 0.5})
    assert given["resources"]["GPU"] == 0.5
