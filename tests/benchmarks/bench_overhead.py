"""What the engine costs a trial beyond its work, against an empty Tune trial; memory of the driver.

    OMP_NUM_THREADS=1 pytest tests/benchmarks/bench_overhead.py -m bench --capture=no

A random Llama of 3 × 32 channels, one `magnitude` step a trial, `avg_bits` measured: what is left of a trial is rows,
store and Tune. The named alternative is a Tune trial that does nothing, actors reused and Tune's noise off as in
`rayci.trials.cluster`, as many workers. The clock runs from the end of the first trial to that of the last, so that
neither Ray's start nor the model's loading counts, and the seconds that the table gives to applying and measuring,
shared among the workers, are taken off. `RAYCI_BENCH_TRIALS` (default 1000) and `RAYCI_BENCH_MANY` (default 10000)
are the numbers of trials for time and for memory. Neighbours on the machine starve Ray's workers, which are nice to
others, and so count against our side: RAY_worker_niceness=0 where there are some.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rayci.table import read
from tests.models import random_model, tokenizer

pytestmark = pytest.mark.bench

TRIALS = int(os.environ.get("RAYCI_BENCH_TRIALS", "1000"))
MANY = int(os.environ.get("RAYCI_BENCH_MANY", "10000"))
WORKERS, ROUNDS = 2, 2
OURS = """
import json, resource, sys
from rayci.planning.spec import Spec
from rayci.trials import launch

folder, workers, trials = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
grid = [(index + 1) / (trials + 1) for index in range(trials)]
spec = Spec.model_validate({
    "name": "overhead", "model": f"{folder}/model", "data": "testbed",
    "interventions": {"magnitude": {"sparsity": {"sweep": grid}}}, "criteria": ["avg_bits"],
})
run = launch(spec, out=f"{folder}/run", workers=workers)
assert run.complete and run.counts["applied"] == trials
print(json.dumps({"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""
EMPTY = """
import json, resource, sys, time
from rayci.trials.cluster import connected
from rayci.trials.progress import Silent

folder, workers, trials = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with connected(address=None, workers=workers, cpus=1, threads=1, gpus=False):
    from ray import tune

    class Empty(tune.Trainable):
        def step(self):
            return {"done": True}

        def reset_config(self, new_config):
            return True

    class Ends(tune.Callback):
        ends = []

        def on_trial_complete(self, **info):
            self.ends.append(time.time())

    tune.Tuner(
        tune.with_resources(Empty, {"cpu": 1}),
        param_space={"index": tune.sample_from(lambda config: 0)},
        tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=f"{folder}/tune",
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[Ends()],
            progress_reporter=Silent(),
            verbose=0,
        ),
    ).fit()
    assert len(Ends.ends) == trials
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"bytes": peak, "seconds": max(Ends.ends) - min(Ends.ends)}))
"""


def measured(code: str, folder: Path, trials: int) -> dict[str, Any]:
    """What a process of one side printed."""
    command = [sys.executable, "-c", code, str(folder), str(WORKERS), str(trials)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def ours(folder: Path, trials: int) -> dict[str, Any]:
    """Bytes of the driver, seconds without the trials' own work, and that work."""
    random_model("llama").save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    found = measured(OURS, folder, trials)
    frame = read(folder / "run").frame
    assert len(frame) == trials + 1
    steps = frame[frame["stage"] == 1]
    work = float(steps["apply_seconds"].sum() + steps["measure_seconds"].sum()) / WORKERS
    ends = steps["recorded_at"]
    return {**found, "work": work, "seconds": (ends.max() - ends.min()).total_seconds() - work}


def test_seconds_beyond_the_work(tmp_path: Path) -> None:
    sides: dict[str, list[float]] = {"ours": [], "empty": []}
    for number in range(ROUNDS):
        found = ours(tmp_path / f"ours-{number}", TRIALS)
        sides["ours"].append(1000 * found["seconds"] / TRIALS)
        sides["empty"].append(1000 * measured(EMPTY, tmp_path / f"empty-{number}", TRIALS)["seconds"] / TRIALS)
        print(f"\nround {number + 1}: ours {sides['ours'][-1]:.1f} ms a trial beyond its work of", end=" ")
        print(f"{1000 * found['work'] / TRIALS:.1f} ms, an empty Tune trial {sides['empty'][-1]:.1f} ms", end="")
    least = {side: min(times) for side, times in sides.items()}
    print(
        f"\n{TRIALS} trials, {WORKERS} workers: {least['ours'] / least['empty']:.2f} times an empty trial (least of",
        end="",
    )
    print(f" {ROUNDS} each)")


def test_memory_of_the_driver(tmp_path: Path) -> None:
    few, many = ours(tmp_path / "few", 100), ours(tmp_path / "many", MANY)
    print(f"\n{MANY} trials: driver's peak {many['bytes'] / 1e6:.0f} MB, {few['bytes'] / 1e6:.0f} MB for 100:", end=" ")
    print(f"{(many['bytes'] - few['bytes']) / (MANY - 100) / 1e3:.1f} KB a trial")
