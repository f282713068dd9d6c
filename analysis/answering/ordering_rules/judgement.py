"""From comparisons to yes, no or undecided: a mean difference, its interval, and the side on which that lies.

A comparison is a difference that a claim is about, in shares of a criterion's range, unit by unit. Where all
comparisons have the same three or more units (edit batches, or seeds), the interval is over units; else over the
comparisons, which then stand for others of their kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from rayci.analysis.statistics.intervals import LEAST_UNITS, LEVEL, Summary, summarise
from rayci.analysis.statistics.piecewise import Array


class Answer(StrEnum):
    """What a table says of a claim."""

    YES = "yes"
    NO = "no"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Part:
    """One statement of a claim, judged."""

    text: str
    """What the statistic is, `pruning first over editing first`."""
    answer: Answer
    statistic: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    of: str = "comparisons"
    """What `n` counts: `units` or `comparisons`."""

    def __str__(self) -> str:
        if self.statistic is None:
            return f"{self.text}: nothing to compare"
        ends = "" if self.low is None or self.high is None else f" [{self.low:+.2f}, {self.high:+.2f}]"
        counted = f"{self.n} {self.of}" if self.n != 1 else f"1 {self.of.removesuffix('s')}"
        return f"{self.text}: {self.statistic:+.2f}{ends} over {counted}, {self.answer}"


def positive(text: str, comparisons: Iterable[Array], *, above: float = 0.0) -> Part:
    """Whether the mean is above a bound: yes where its whole interval is, no where none of it is."""
    summary, of = _summary(comparisons)
    answer = Answer.UNDECIDED
    if summary.low is not None and summary.high is not None:
        answer = Answer.YES if summary.low > above else Answer.NO if summary.high < above else Answer.UNDECIDED
    return _part(text, answer, summary, of)


def differing(text: str, comparisons: Iterable[Array], margin: float) -> Part:
    """Whether the mean is not 0: no where it is shown to lie within the margin."""
    summary, of = _summary(comparisons)
    apart = summary.p is not None and summary.p < LEVEL
    answer = Answer.YES if apart else Answer.NO if summary.within(margin) else Answer.UNDECIDED
    return _part(text, answer, summary, of)


def similar(text: str, comparisons: Iterable[Array], margin: float) -> Part:
    """Whether the mean is shown to lie within the margin: no where its interval lies beyond."""
    summary, of = _summary(comparisons)
    answer = Answer.YES if summary.within(margin) else Answer.UNDECIDED
    if summary.low is not None and summary.high is not None and (summary.low > margin or summary.high < -margin):
        answer = Answer.NO
    return _part(text, answer, summary, of)


def rising(text: str, x: Sequence[float], y: Sequence[float]) -> Part:
    """Whether y grows with x: the sign of Spearman's correlation where its p is below .05."""
    if len(x) < LEAST_UNITS or len(set(x)) == 1 or len(set(y)) == 1:
        return Part(text, Answer.UNDECIDED, n=len(x))
    from scipy import stats  # most of a second: only where it is used

    correlation, p = stats.spearmanr(x, y)
    shown = p < LEVEL
    answer = Answer.YES if shown and correlation > 0 else Answer.NO if shown else Answer.UNDECIDED
    return Part(text, answer, float(correlation), n=len(x))


def every(text: str, holds: Sequence[bool]) -> Part:
    """Whether a statement holds in every one of at least two cases; the statistic is their share."""
    if len(holds) < 2:
        return Part(text, Answer.UNDECIDED, float(np.mean(holds)) if holds else None, n=len(holds), of="cases")
    return Part(text, Answer.YES if all(holds) else Answer.NO, float(np.mean(holds)), n=len(holds), of="cases")


def together(parts: Sequence[Part]) -> Answer:
    """A claim holds where all of its parts do, and fails where one does."""
    answers = {part.answer for part in parts}
    if Answer.NO in answers:
        return Answer.NO
    return Answer.YES if answers == {Answer.YES} else Answer.UNDECIDED


def _summary(comparisons: Iterable[Array]) -> tuple[Summary, str]:
    held = [units for units in comparisons if len(units) and np.isfinite(units).all()]
    counts = {len(units) for units in held}
    if len(counts) == 1 and counts.pop() >= LEAST_UNITS:
        return summarise(list(np.mean(held, axis=0))), "units"
    return summarise([float(units.mean()) for units in held]), "comparisons"


def _part(text: str, answer: Answer, summary: Summary, of: str) -> Part:
    return Part(text, answer, summary.mean, summary.low, summary.high, summary.n, of)
