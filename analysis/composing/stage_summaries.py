"""The mean of a criterion after each stage, with its interval: over units, or over the items of one measurement."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from rayci.analysis.scan.chain_values import After, Chains, ChainValues
from rayci.analysis.statistics.intervals import Summary, of_items, summaries, summarise
from rayci.analysis.statistics.piecewise import Array
from rayci.kinds import Scale

ITEMS = "items"


@dataclass(frozen=True, slots=True)
class StageSummary:
    """One criterion after one stage."""

    summary: Summary
    """Without a mean where a unit has no value; the interval ends where the criterion's range does."""
    over: str | None
    """What the interval is over: `replicates`, `seeds`, `items`; None where there is none."""
    reason: str | None
    """Why there is no mean."""


@dataclass(frozen=True)
class StageSummaries:
    """One criterion of a table."""

    chains: Chains
    criterion: str
    scale: Scale

    def after(self, stages: Sequence[After]) -> list[StageSummary]:
        """The mean after each stage, each over its own units."""
        told: dict[int, StageSummary] = {}
        for places in self._values.alike(stages):
            members = [stages[place] for place in places]
            read = self._values.of(members)
            once = len(read.values) == 1
            held = self._of_items(members, read.values[0]) if once else summaries(read.values.T).each()
            for place, stage, summary in zip(places, members, held, strict=True):
                over = None if summary.low is None else ITEMS if summary.n == 1 else read.units
                reason = self._values.why(stage) if summary.mean is None else None
                told[place] = StageSummary(self._inside(summary), over, reason)
        return [told[place] for place in range(len(stages))]

    def _of_items(self, stages: Sequence[After], values: Array) -> Iterator[Summary]:
        """Single measurements with the intervals of their items."""
        errors, counts = (held.of(stages).values[0] for held in (self._errors, self._counts))
        for value, error, count in zip(values.tolist(), errors.tolist(), counts.tolist(), strict=True):
            if math.isnan(value):
                yield summarise([value])
            else:
                known = 0 if math.isnan(count) else int(count)
                yield of_items(value, None if math.isnan(error) else error, known, share=self.scale.judges_shares)

    def _inside(self, summary: Summary) -> Summary:
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
