"""What a step or a reading says that it was, beside what it took."""

from __future__ import annotations

from rayci.criterion import Criterion
from rayci.forecast.stated import states
from rayci.intervention import Intervention
from rayci.planning.sweep import Sweep
from rayci.subject import Subject
from rayci.workload import Workload


def stated_operations(method: Intervention | Criterion, sweep: Sweep, subject: Subject) -> float | None:
    """Floating-point operations; None where neither the method nor its family says them."""
    if not states(method, "operations"):
        return None
    return float(method.operations(Workload(subject, sweep.spec.edit_batch, sweep.spec.replicates)))
