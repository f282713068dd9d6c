"""The published grid on the testbed, one replicate, no re-compression: with sharing, without, and as single scripts.

    OMP_NUM_THREADS=1 pytest tests/benchmarks/bench_sharing.py -m bench --capture=no
    RAYCI_BENCH_STRENGTHS=all OMP_NUM_THREADS=1 pytest tests/benchmarks/bench_sharing.py -m bench --capture=no

Every method in both orders; each compressor with `RAYCI_BENCH_STRENGTHS` of its strengths, spread over the grid
(default 1: 76 compositions; `all`: 310). The named alternatives, as many at a time: every composition from scratch
in the same workers; and what a script for one composition does, a process that loads the model, applies the steps
and evaluates at the end, its imports included, timed on at most 60 compositions and extrapolated. All runs must give
the same values at the end of every composition. Beside the wall clock stands the time of a core that all processes
of a run took: neighbours on the machine change it less.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from rayci import registry
from rayci.forecast.host import cores
from rayci.kinds import Recompress
from rayci.planning import composition, spec
from rayci.planning.plan import Plan
from rayci.planning.spec import Spec
from rayci.trials import launch

pytestmark = pytest.mark.bench

GRID = Path(__file__).parents[2] / "trials" / "specs" / "published_testbed.yaml"
STRENGTHS = os.environ.get("RAYCI_BENCH_STRENGTHS", "1")
SAMPLE = 60
SCRIPT = """
import json, sys
import rayci
from rayci import registry
from rayci.context import Context
from rayci.testbed import collection

text, out, *criteria = sys.argv[1:]
subject = rayci.apply("testbed", text, recompress="never")
context = Context(collection())
values = {name: registry.criterion(name)().measure(subject, context).value for name in criteria}
with open(out, "w") as stream:
    json.dump(values, stream)
"""
Finals = dict[str, dict[str, float]]
"""Composition -> criterion -> value at its end."""


class Meter:
    """Wall and processor seconds of a block: this process and all that it starts."""

    def __enter__(self) -> Meter:
        self._start, self._busy, self._over = time.perf_counter(), dict[int, float](), threading.Event()
        self._before = self._own()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start
        self._over.set()
        self._watch.join()
        self.busy = sum(self._busy.values()) + self._own() - self._before

    def _own(self) -> float:
        return sum(psutil.Process().cpu_times()[:2])

    def _look(self) -> None:
        while not self._over.wait(0.5):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    self._busy[process.pid] = sum(process.cpu_times()[:2])


def grid() -> Spec:
    """The published grid with one replicate, its strengths thinned out."""
    given = spec.load(GRID)
    methods = {
        method: {key: {"sweep": spread(value["sweep"])} if "sweep" in value else value for key, value in sets.items()}
        for method, sets in given.interventions.items()
    }
    return given.model_copy(update={"replicates": 1, "recompress": Recompress.NEVER, "interventions": methods})


def spread(values: list[Any]) -> list[Any]:
    """As many of the values as asked for, evenly spread."""
    if STRENGTHS == "all":
        return values
    count = int(STRENGTHS)
    return [values[(2 * index + 1) * len(values) // (2 * count)] for index in range(count)]


def sweep(folder: Path, *, sharing: bool) -> tuple[dict[str, float], Finals, Plan]:
    """Seconds, stages and evaluations of a run, the values at the ends, and its plan."""
    with Meter() as meter:
        run = launch(grid(), out=folder, sharing=sharing)
    assert run.complete
    frame = run.table.frame
    ends: Any = frame[frame["final"]].pivot(index="composition", columns="criterion", values="value")
    figures = {
        "seconds": meter.seconds,
        "busy": meter.busy,
        "stages": run.counts["applied"],
        "evaluations": run.counts["measured"] * len(run.plan.spec.criteria),
    }
    return figures, ends.to_dict("index"), run.plan


def script(text: str, criteria: list[str], out: Path) -> dict[str, float]:
    """One composition in a process of its own, as nice to others as Ray's workers are."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = ["nice", "-n", "15", sys.executable, "-c", SCRIPT, text, str(out), *criteria]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    values: dict[str, float] = json.loads(out.read_text())
    return values


def scripts(plan: Plan, folder: Path, workers: int) -> tuple[dict[str, float], Finals]:
    """Seconds, stages and evaluations of single scripts, extrapolated from a sample; the sample's values."""
    sample = stratified([trial.composition for trial in plan.trials])
    criteria = list(plan.spec.criteria)
    with Meter() as meter, ThreadPoolExecutor(workers) as pool:
        outs = [folder / f"{index}.json" for index in range(len(sample))]
        found = list(pool.map(script, sample, itertools.repeat(criteria), outs))
    scale = len(plan.trials) / len(sample)
    figures = {
        "seconds": meter.seconds * scale,
        "busy": meter.busy * scale,
        "stages": plan.summary()["stages_asked"],
        "evaluations": len(plan.trials) * len(criteria),
    }
    return figures, dict(zip(sample, found, strict=True))


def stratified(texts: list[str]) -> list[str]:
    """At most `SAMPLE` compositions, as many of each order of kinds and methods as their share."""

    def stratum(text: str) -> tuple[list[str], list[str], str]:
        methods = [step.method for step in composition.parse(text).steps]
        return [registry.intervention(method).kind for method in methods], methods, text

    ordered = sorted(texts, key=stratum)
    size = min(SAMPLE, len(ordered))
    return [ordered[(2 * index + 1) * len(ordered) // (2 * size)] for index in range(size)]


def test_sharing(tmp_path: Path) -> None:
    workers = cores()
    shared, finals, plan = sweep(tmp_path / "shared", sharing=True)
    counts = plan.summary()
    print(f"\n{counts['compositions']} compositions, {workers} at a time")
    print("| | seconds | of a core | stages | evaluations | sharing is times as fast | by core |\n" + "|---" * 7 + "|")
    report("shared", shared, shared)
    unshared, same, _ = sweep(tmp_path / "unshared", sharing=False)
    report("each from scratch, same workers", unshared, shared)
    alone, sampled = scripts(plan, tmp_path, workers)
    report(f"a process each, from {len(sampled)}", alone, shared)
    assert same == finals
    assert sampled == {text: finals[text] for text in sampled}
    assert (shared["stages"], unshared["stages"]) == (counts["stages_computed"], counts["stages_asked"])


def report(name: str, found: dict[str, float], shared: dict[str, float]) -> None:
    """Print one row of the table."""
    plain = " | ".join(f"{found[key]:.0f}" for key in ("seconds", "busy", "stages", "evaluations"))
    ratios = " | ".join(f"{found[key] / shared[key]:.1f}" for key in ("seconds", "busy"))
    print(f"| {name} | {plain} | {ratios} |", flush=True)
