"""The rule on what an intervention or criterion says of its own cost."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

from rayci.subject import Subject
from rayci.workload import Workload


class CostRules:
    """The part of both suites that looks at `operations` and `memory`."""

    def make(self) -> Any:
        """The instance under test."""
        raise NotImplementedError

    def subject(self) -> Subject:
        """The model whose shapes count."""
        raise NotImplementedError

    def test_what_it_costs_is_finite_positive_and_grows_with_the_texts(self) -> None:
        """A sum of all steps, and a maximum over them, is only as sound as each of them."""
        made, work = self.make(), Workload(self.subject())
        longer: dict[str, Any] = {name: 2 * size for name, size in asdict(work.texts).items() if isinstance(size, int)}
        more = replace(work, edits=2 * work.edits, texts=replace(work.texts, **longer))
        for name, figure in (("operations", made.operations), ("memory", made.memory)):
            few, many = float(figure(work)), float(figure(more))
            assert math.isfinite(few) and few > 0, f"{name} are {few!r}"
            assert few <= many < math.inf, f"{name} are {few:g}, and {many:g} on texts that are twice as long"
        assert isinstance(made.memory(work), int), "memory is no number of bytes"
