"""Seconds of every method and criterion on the testbed: the rows of `rayci/forecast/stage_times.csv`.

    OMP_NUM_THREADS=1 pytest tests/benchmarks/bench_stage_times.py -m bench --capture=no

Testbed presets, the first strength of the literature's grid, one thread, the shorter of two runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from rayci import registry
from rayci.context import Context
from rayci.testbed import collection
from tests.models import testbed

pytestmark = pytest.mark.bench


def seconds(work: Callable[[], Any]) -> float:
    """The shorter of two runs."""
    found = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def test_stage_times_on_the_testbed() -> None:
    context = Context(collection())
    parameters = sum(value.numel() for value in testbed().model.parameters())
    print("\nparameters,device,kind,name,seconds,source")
    for name in registry.INTERVENTIONS:
        cls = registry.intervention(name)
        made = cls.configure("testbed", cls.strength.grid[0] if cls.strength and cls.strength.grid else None)
        taken = seconds(lambda made=made: testbed().apply(made, context))  # type: ignore[misc]
        print(f"{parameters},cpu,step,{name},{taken:.3f},measured", flush=True)
        assert taken > 0
    subject = testbed()
    for name in registry.CRITERIA:
        criterion = registry.criterion(name)()
        if [*context.faults(name, criterion.needs), *criterion.check(context.data)]:
            continue  # it reads a data set of the literature, of which the testbed invents nothing
        taken = seconds(lambda criterion=criterion: criterion.measure(subject, context))  # type: ignore[misc]
        print(f"{parameters},cpu,criterion,{name},{taken:.3f},measured", flush=True)
        assert taken > 0
