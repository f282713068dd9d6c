"""The mean of a criterion after a stage, with its interval: over units, or over the items of one measurement."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from rayci.analysis.scan.chain_values import After, Chains, ChainValues
from rayci.analysis.statistics.intervals import Summary, of_items, summarise
from rayci.kinds import Direction, Scale

ITEMS = "items"


@dataclass(frozen=True)
class StageSummaries:
    """One criterion of a table."""

    chains: Chains
    criterion: str
    scale: Scale

    def of(self, stage: After) -> tuple[Summary, str | None]:
        """The mean after a stage, and what its interval is over (`replicates`, `seeds`, `items`; None: there is none).

        Without a mean where a unit has no value.
        """
        read = self._values.of([stage])
        units = read.values[:, 0].tolist()
        if len(units) != 1 or math.isnan(units[0]):
            summary = self._inside(summarise(units))
            return summary, None if summary.low is None else read.units
        stderr, count = (held.of([stage]).values[0, 0] for held in (self._errors, self._counts))
        share = self.scale.direction is not Direction.NONE and (self.scale.low, self.scale.high) == (0.0, 1.0)
        known = 0 if math.isnan(count) else int(count)
        summary = self._inside(of_items(units[0], None if math.isnan(stderr) else float(stderr), known, share=share))
        return summary, None if summary.low is None else ITEMS

    def why(self, stage: After) -> str:
        """Why there is no mean."""
        return self._values.why(stage)

    def _inside(self, summary: Summary) -> Summary:
        """With an interval that ends where the range does."""
        if summary.low is None or summary.high is None:
            return summary
        low = summary.low if self.scale.low is None else max(self.scale.low, summary.low)
        high = summary.high if self.scale.high is None else min(self.scale.high, summary.high)
        return replace(summary, low=low, high=high)

    @cached_property
    def _values(self) -> ChainValues:
        return self.chains.read(self.criterion)

    @cached_property
    def _errors(self) -> ChainValues:
        return self.chains.read(self.criterion, column="stderr")

    @cached_property
    def _counts(self) -> ChainValues:
        return self.chains.read(self.criterion, column="n")
