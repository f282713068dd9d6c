"""Processor time of every method and criterion on the testbed, beside what the forecast tells after one probe.

    OMP_NUM_THREADS=1 pytest tests/benchmarks/bench_stage_times.py -m bench --capture=no

Testbed presets at the first strength of the literature's grid, criteria as they are, an edit batch of 50; one thread.
Two columns of ratios, forecast over measured: from operations alone, and as `rayci plan --probe` tells, which corrects
them by the times that ship. `RAYCI_BENCH_SHIP=all` makes what was measured the times that ship, with the rates beside;
`RAYCI_BENCH_SHIP=new` measures only what ships no time yet, and adds it at the rates that ship.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rayci import registry
from rayci.context import Context
from rayci.criterion import Criterion
from rayci.errors import Inapplicable
from rayci.forecast.clock import Clock
from rayci.forecast.probe import Probe
from rayci.forecast.rates import Rates, save
from rayci.forecast.reference import reference_work
from rayci.forecast.stage_times import SHIPPED, Times, of_file
from rayci.intervention import Intervention
from rayci.planning.chain import Link
from rayci.planning.composition import Step
from rayci.testbed import collection
from rayci.workload import Workload
from tests.models import testbed

pytestmark = pytest.mark.bench
SHIP = os.environ.get("RAYCI_BENCH_SHIP", "")
SOURCE = "testbed preset, processor time measured on one thread (tests/benchmarks/bench_stage_times.py; torch 2.13)"


def seconds(prepared: Callable[[], Callable[[], Any]]) -> float:
    """The shortest of three runs, or the first where that takes two seconds; the preparation aside."""
    found: list[float] = []
    while len(found) < 3 and (not found or found[0] < 2):
        work = prepared()
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def measured(context: Context, known: Collection[str]) -> Iterator[tuple[Intervention | Criterion, float]]:
    """Every method and every criterion that the testbed's data serve, but those that are known."""
    for name in (name for name in registry.INTERVENTIONS if name not in known):
        cls = registry.intervention(name)
        made = cls.configure("testbed", cls.strength.grid[0] if cls.strength and cls.strength.grid else None)

        def prepared(made: Intervention = made) -> Callable[[], Any]:
            subject = testbed()
            return lambda: subject.apply(made, context)

        yield made, seconds(prepared)
    subject = testbed()
    for name in (name for name in registry.CRITERIA if name not in known):
        criterion = registry.criterion(name)()
        if [*context.faults(name, criterion.needs), *criterion.check(context.data)]:
            continue  # it reads a data set of the literature, of which the testbed invents nothing
        with suppress(Inapplicable):  # they measure a GPU, or a quantiser after a training
            yield criterion, seconds(lambda criterion=criterion: lambda: criterion.measure(subject, context))  # type: ignore[misc]


def test_stage_times_on_the_testbed(tmp_path: Path) -> None:
    context, work = Context(collection()), reference_work()
    shipped = of_file(SHIPPED, work.parameters, "cpu")
    taken: list[tuple[Intervention | Criterion, float, Rates]] = []
    print("\n| | seconds | operations alone | with one probe |\n|---|---|---|---|")
    for method, own in measured(context, {*shipped.steps, *shipped.readings} if SHIP == "new" else ()):
        if not taken or own > 0.2:  # rates change with what else the machine does
            rates = Probe.here("cpu", tmp_path).rates("cpu")
        taken.append((method, own, rates))
        bare, whole = (_told(method, Clock(times, work, 1, rates, "")) for times in ([], [shipped]))
        print(f"| {method.name} | {own:.5f} | {bare / own:.2f} | {whole / own:.2f} |", flush=True)
        assert own > 0
    if SHIP:
        _ship(taken, work, shipped)


def _ship(taken: list[tuple[Intervention | Criterion, float, Rates]], work: Workload, shipped: Times) -> None:
    """Write the table, each time brought from the rates measured beside it to one machine's.

    That machine is the one that ships where only new times are added, else the median of those measured.
    """
    middle = sorted((rates for _, _, rates in taken), key=lambda rates: rates.fp32)[len(taken) // 2]
    kinds = {"step": dict(shipped.steps), "criterion": dict(shipped.readings)} if SHIP == "new" else {}
    if SHIP == "new" and shipped.rates is not None:
        middle = shipped.rates
    for method, own, rates in taken:
        there, here = (_told(method, Clock([], work, 1, each, "")) for each in (middle, rates))
        kinds.setdefault("criterion" if isinstance(method, Criterion) else "step", {})[method.name] = own * there / here
    names = [*registry.INTERVENTIONS, *registry.CRITERIA]
    with SHIPPED.open("w", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["parameters", "device", "kind", "name", "seconds", "source"])
        for kind, times in kinds.items():
            for name in sorted(times, key=names.index):
                rows.writerow([work.parameters, "cpu", kind, name, f"{times[name]:.5f}", SOURCE])
    save([middle], SHIPPED.parent)


def _told(method: Intervention | Criterion, clock: Clock) -> float:
    if isinstance(method, Criterion):
        return clock.reading(method).seconds
    return clock.step(Link(Step(method.name), method, None)).seconds
