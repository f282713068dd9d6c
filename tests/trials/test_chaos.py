"""Workers, nodes, drivers and the head killed at random moments of a 60-trial sweep; nothing is lost, nothing doubled.

pytest -m chaos tests/trials/test_chaos.py -s         RAYCI_CHAOS_SEED=… repeats the draws of a run

30 kills in one go, ten minutes; RAYCI_CHAOS_KILLS=200 for an hour of it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil
import pytest

from rayci.planning import spec as specs
from rayci.planning.plan import Plan
from rayci.planning.sweep import Sweep
from rayci.trials import launch
from rayci.trials.run_folder import RunFolder

from .conftest import comparable
from .evidence import Evidence
from .own_cluster import START, OwnCluster

pytestmark = pytest.mark.chaos

SIXTY_TRIALS = """\
model: testbed
replicates: 2
interventions:
  ft: {steps: 4}
  gd: {max_steps: 4}
  wanda: {sparsity: {sweep: [0.25, 0.5, 0.65]}}
  rtn: {bits: {sweep: [3, 4, 6, 8]}}
compose: {also: ["ft > gd > rtn@4", "ft > wanda@0.5 > rtn@4"]}
criteria: [edit_success, edit_locality_agreement, hazard, avg_bits]
"""
KILLS = int(os.environ.get("RAYCI_CHAOS_KILLS", "30"))
IN_ONE_RUN = 2
"""Workers and nodes killed under one driver: a trial whose worker died three times is given up."""
LIMIT = 240.0
"""Seconds that the end of a driver may take."""
MOMENT = 15.0
"""Seconds after which something is killed though no part was written since the last kill."""


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "sixty.yaml"
    path.write_text(SIXTY_TRIALS)
    return path


@pytest.fixture(scope="module")
def plan(spec: Path) -> Plan:
    made = Sweep.open(specs.load(spec)).planner.plan()
    assert len(made.trials) == 60
    return made


@pytest.fixture(scope="module")
def calm(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an undisturbed run."""
    run = tmp_path_factory.mktemp("calm") / "run"
    done = launch(spec, out=run)
    assert done.complete and done.counts["applied"] == done.plan.summary()["stages_computed"]
    return run


@dataclass
class Chaos:
    """One sweep, run by the same command again and again while its processes are killed."""

    spec: Path
    run: Path
    cluster: OwnCluster
    draw: random.Random
    plan: Plan
    kills: list[str] = field(default_factory=list)
    """What was killed, in order."""

    def __post_init__(self) -> None:
        inner = {stage.fingerprint for trial in self.plan.trials for stage in trial.stages[:-1]}
        self.evidence = Evidence(self.run, frozenset(set(self.plan.stages) - inner))

    def start(self) -> subprocess.Popen[str]:
        """The command."""
        command = [sys.executable, "-m", "rayci", "run", str(self.spec), "--out", str(self.run)]
        return subprocess.Popen(
            [*command, "--address", self.cluster.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.spec.parent,
            env=self.cluster.environment,
        )

    def disturbed(self, driver: subprocess.Popen[str], last: str, fill: Callable[[], None]) -> None:
        """Kill workers and nodes under a driver, then it or the head; `fill` a disk. Less where it ends before."""
        for what in [*self.draw.choices(("worker", "node"), (7, 3), k=IN_ONE_RUN), last]:
            if not self._moment(driver):
                text = driver.communicate(timeout=LIMIT)[0]
                assert driver.returncode == 0, text
                self.evidence.look()
                return
            self.kills.append(self._kill(what, driver))
            print(f"{self.kills[-1]} killed, {len(self._parts())} of {len(self.plan.stages)} parts there", flush=True)
            self.evidence.look()
            fill()
        text = driver.communicate(timeout=LIMIT)[0]
        assert driver.returncode not in (0, 2), text

    def finished(self) -> str:
        """Run to the end, undisturbed; what the driver printed."""
        driver = self.start()
        text = driver.communicate(timeout=LIMIT)[0]
        assert driver.returncode == 0, text
        self.evidence.look()
        return text

    def _moment(self, driver: subprocess.Popen[str]) -> bool:
        """Wait for a trial to run, for up to three new parts and a random time; False where the driver ended."""
        wanted = len(self._parts()) + self.draw.randrange(1, 4)
        for there, limit in ((self.cluster.workers, START), (lambda: len(self._parts()) >= wanted, MOMENT)):
            end = time.monotonic() + limit
            while time.monotonic() < end and not there() and driver.poll() is None:
                time.sleep(0.05)
        time.sleep(self.draw.random())
        return driver.poll() is None

    def _kill(self, what: str, driver: subprocess.Popen[str]) -> str:
        """SIGKILL; returns what it hit: where no trial runs, a node in place of a worker."""
        workers = self.cluster.workers()
        if what == "worker" and workers:
            with suppress(psutil.NoSuchProcess):
                self.draw.choice(workers).kill()
            return what
        if what == "driver":
            driver.send_signal(signal.SIGKILL)
            return what
        if what == "head":
            self.cluster.kill_head()
            return what
        self.cluster.kill_node(self.draw.randrange(2))
        self.cluster.add_node()
        return "node"

    def _parts(self) -> list[Path]:
        return list((self.run / "table").glob("[!.]*.parquet"))


@contextmanager
def disk_below(folder: Path, size: str) -> Iterator[Callable[[], None]]:
    """A disk of its own under a folder that is in use; yields what fills it with a file `filler`."""
    aside = folder.with_name(f"{folder.name}-aside")
    folder.rename(aside)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)

        def fill() -> None:
            with suppress(OSError), (folder / "filler").open("wb", buffering=0) as stream:
                while stream.write(bytes(4096)):
                    pass

        yield fill
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def can_mount(tmp_path: Path) -> bool:
    place = tmp_path / "may-mount"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True).returncode:
        return False
    return subprocess.run(["umount", "-l", place], check=True).returncode == 0


def truncate_part(chaos: Chaos) -> str:
    """Cut a part of the table short."""
    stage = chaos.draw.choice(sorted(chaos.evidence.parts))
    part = chaos.run / "table" / f"{stage}.parquet"
    part.write_bytes(part.read_bytes()[:200])
    chaos.evidence.excuse(stage)
    return part.name


def truncate_weights(chaos: Chaos, plan: Plan) -> str | None:
    """Cut the weights of a stage short from which a trial must still go on; None where there is none."""
    going_on = {
        s.fingerprint for t in plan.trials if t.stages[-1].fingerprint not in chaos.evidence.parts for s in t.stages
    }
    victims = sorted(chaos.evidence.stored() & going_on - set(chaos.evidence.damaged))
    if not victims:
        return None
    stage = chaos.draw.choice(victims)
    weights = chaos.run / "store" / stage[:2] / stage / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    chaos.evidence.applied.pop(stage, None)
    chaos.evidence.damaged[stage] = 0
    return stage


def disturb(chaos: Chaos, plan: Plan, kills: int, done: dict[str, str], disk: ExitStack | None) -> None:
    """Run the same command under one driver after another, until so much was killed or the table is complete.

    Each kind of damage is done once and noted in `done`; a disk is filled where `disk` is given.
    """
    runs = 0
    while len(chaos.kills) < kills and len(chaos.evidence.parts) < len(plan.stages):
        fill = nothing
        if runs == 2 and "part" not in done:
            done["part"] = truncate_part(chaos)
        if runs >= 2 and "weights" not in done and (stage := truncate_weights(chaos, plan)):
            done["weights"] = stage
        if runs == 3 and disk is not None and "disk" not in done:
            done["disk"] = "full"
            fill = disk.enter_context(disk_below(chaos.run / "store", "24m"))
        chaos.cluster.start(2)
        chaos.disturbed(chaos.start(), "head" if runs % 4 == 1 else "driver", fill)
        (chaos.run / "store" / "filler").unlink(missing_ok=True)
        runs += 1


def nothing() -> None:
    """Fill no disk."""


def check(chaos: Chaos, plan: Plan, calm: Path) -> None:
    """The same command, undisturbed, makes the table that of the undisturbed run, with no step too many."""
    missing, before = chaos.evidence.missing(plan), time.time()
    text = chaos.finished()
    progress = RunFolder(chaos.run).progress() or {}
    # Where all rows came back from the store, Ray did not start, and nothing was applied.
    applied = progress["applied"] if progress.get("started", 0.0) > before else 0
    print(f"the last run applied {applied} steps, {missing} were missing")
    assert applied <= missing, text
    pd.testing.assert_frame_equal(comparable(chaos.run), comparable(calm), check_exact=True)


def test_chaos(spec: Path, plan: Plan, calm: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("RAYCI_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"\nRAYCI_CHAOS_SEED={seed}", flush=True)
    began, kills, done = time.monotonic(), list[str](), dict[str, str]()
    cluster = OwnCluster()
    mountable = can_mount(tmp_path)
    try:
        while len(kills) < KILLS:
            chaos = Chaos(spec, tmp_path / f"run-{len(kills)}", cluster, random.Random(f"{seed} {len(kills)}"), plan)
            with ExitStack() as disk:
                disturb(chaos, plan, KILLS - len(kills), done, disk if mountable else None)
                cluster.start(2)
                check(chaos, plan, calm)
            kills += chaos.kills
            print(f"{time.monotonic() - began:.0f} s: {len(kills)} kills: {' '.join(kills)}; {done}")
    finally:
        cluster.close()
    assert {"worker", "node", "driver", "head"} <= set(kills)
    assert {"part", "weights"} <= set(done) and (not mountable or "disk" in done)
