"""What the times that ship were measured on: every method with the testbed's preset, every criterion as it is."""

from __future__ import annotations

from functools import cache

from rayci.criterion import Criterion
from rayci.forecast.data_sizes import texts_of
from rayci.intervention import Intervention
from rayci.model.shapes import sketch
from rayci.testbed import collection
from rayci.workload import Workload


@cache
def reference_work() -> Workload:
    """The testbed with its own data and an edit batch of 50."""
    subject = sketch("testbed").subject
    return Workload(subject, texts=texts_of(collection(), subject))


def as_measured(method: Intervention | Criterion) -> Intervention | Criterion:
    """The method as it was measured: its testbed preset at the first strength of its grid; a criterion's defaults."""
    if isinstance(method, Criterion):
        return type(method)()
    cls = type(method)
    return cls.configure("testbed", cls.strength.grid[0] if cls.strength and cls.strength.grid else None)
