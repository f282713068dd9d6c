"""What a step or a reading says that it was, on the data that it met, beside what it took."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rayci.criterion import Criterion
from rayci.forecast.data_sizes import texts_of
from rayci.forecast.stated import states
from rayci.intervention import Intervention
from rayci.planning.sweep import Sweep
from rayci.subject import Subject
from rayci.workload import Workload


@dataclass(frozen=True)
class StatedOperations:
    """Of one sweep on one subject."""

    sweep: Sweep
    subject: Subject

    def of(self, method: Intervention | Criterion) -> float | None:
        """Floating-point operations of all precisions; None where neither the method nor its family says them."""
        return float(method.operations(self._work)) if states(method, "operations") else None

    @cached_property
    def _work(self) -> Workload:
        spec, texts = self.sweep.spec, texts_of(self.sweep.data, self.subject)
        return Workload(self.subject, spec.edit_batch, spec.replicates, texts)
