"""Methods and criteria of a third party: one that says what it costs, one that does not."""

from __future__ import annotations

from typing import ClassVar

from rayci.context import Context
from rayci.criterion import Criterion, Reading
from rayci.intervention import Intervention, Receipt
from rayci.kinds import UNIT_INTERVAL, Kind, Scale
from rayci.subject import Subject
from rayci.workload import Workload

OPERATIONS, MEMORY = 3.6e13, 5 * 10**9


class Silent(Intervention):
    """Says nothing of what it costs."""

    name: ClassVar[str] = "silent"
    kind: ClassVar[Kind] = Kind.UNLEARN
    needs: ClassVar[frozenset[str]] = frozenset({"forget"})

    def apply(self, subject: Subject, context: Context) -> Receipt:
        return Receipt(())


class Stated(Silent):
    """Says it."""

    name: ClassVar[str] = "stated"

    def operations(self, work: Workload) -> float:
        return OPERATIONS

    def memory(self, work: Workload) -> int:
        return MEMORY


class SilentCriterion(Criterion):
    """Says nothing of what it costs."""

    name: ClassVar[str] = "silent_criterion"
    scale: ClassVar[Scale] = UNIT_INTERVAL
    needs: ClassVar[frozenset[str]] = frozenset({"utility"})

    def measure(self, subject: Subject, context: Context) -> Reading:
        return Reading(0.0, 1)
