"""Where a result table comes from: a run, its parts, or a published table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rayci import table as storage
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

    from rayci.analysis.scan.curve import Curve
    from rayci.analysis.scan.reading_point import At

PUBLISHED = "published:"


@dataclass(frozen=True)
class Results(ResultTable):
    """A result table with the functions of `rayci.analysis` as methods."""

    def curves(self, criteria: Sequence[str] | None = None, along: str | None = None) -> list[Curve]:
        """As `rayci.analysis.curves`."""
        from rayci.analysis.scan.curve import curves

        return curves(self, criteria, along)

    def metrics(
        self,
        at: At = "area",
        axis: str = "scaled",
        criteria: Sequence[str] | None = None,
        along: str | None = None,
        size: int = 2,
        within: Mapping[str, float] | None = None,
    ) -> pd.DataFrame:
        """As `rayci.analysis.metrics`."""
        from rayci.analysis.composing.metric_table import metrics

        return metrics(self, at, axis, criteria, along, size, within)

    def wins(self, at: At = "published", digits: int = 2, criteria: Sequence[str] | None = None) -> pd.DataFrame:
        """As `rayci.analysis.wins`."""
        from rayci.analysis.composing.win_counts import wins

        return wins(self, at, digits, criteria)

    def report(
        self,
        folder: Path | str,
        title: str | None = None,
        at: At = "area",
        beside: Iterable[str] = (),
        tracebacks: Sequence[tuple[str, str]] = (),
    ) -> Path:
        """As `rayci.analysis.report`."""
        from rayci.analysis.page.html_report import report

        return report(self, folder, title, at, beside, tracebacks)


def load(source: Path | str) -> Results:
    """Read a run folder, a folder of parts, one part, or `published:llama3_8b`.

    Raises RequestError where there is no table, CorruptionError where a part is damaged.
    """
    if isinstance(source, str) and source.startswith(PUBLISHED):
        from rayci.analysis.scan.published import published

        table = published(source.removeprefix(PUBLISHED))
    else:
        table = storage.read(source)
    return Results(table.arrow, table.scales, table.item_files)
