"""Where a result table comes from: runs, files, URLs, published tables; and what can be asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rayci import item_values
from rayci.analysis.statistics.verdicts import MARGIN
from rayci.errors import RequestError
from rayci.table import ResultTable, Source, gather, merge, several

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    import polars as pl
    import pyarrow as pa

    from rayci.analysis.answering.recommendation import Recommendation
    from rayci.analysis.answering.two_tables import TwoTables
    from rayci.analysis.answering.which_order import WhichOrder
    from rayci.analysis.scan.curve import Curve
    from rayci.analysis.scan.reading_point import At
    from rayci.analysis.scan.several_models import Model

PUBLISHED = "published:"


@dataclass(frozen=True, repr=False)
class Results(ResultTable):
    """A result table with the functions of `rayci.analysis` as methods."""

    def __repr__(self) -> str:
        from rayci.analysis.scan.table_words import words_of

        return words_of(self, self.models())

    def models(self) -> list[Model]:
        """The models of the table by size: name, fingerprint, parameters where a run says how many."""
        from rayci.analysis.scan.several_models import models_of

        return models_of(self.columns(["model", "model_fingerprint"]), self.parameters)

    def of_model(self, name: str) -> Results:
        """The rows of the model with this name, or whose fingerprint begins so; RequestError where that is not one."""
        from rayci.analysis.scan.several_models import rows_of_model

        return replace(self, rows=rows_of_model(self.arrow, self.models(), name))

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table, columns as in `rayci.table.SCHEMA`."""
        return self.arrow

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a pandas frame; `steps` is a list of dicts."""
        return self.frame

    def to_polars(self) -> pl.DataFrame:
        """The rows as a polars frame; `steps` is a list of structs."""
        import polars as pl

        return pl.DataFrame(self.arrow)

    def items(self) -> pd.DataFrame:
        """What each item of a reading counted, one row a reading: `values` is float64 `[n]`, `weights` that or None.

        Raises RequestError where the table has none.
        """
        import pandas as pd

        rows = self.item_values
        if rows is None:
            raise RequestError(item_values.NONE_KEPT, hint="rayci run SPEC --out another folder measures them")
        frame: pd.DataFrame = rows.drop_columns(["right", "values", "weights"]).to_pandas()
        return frame.assign(
            values=pd.Series(item_values.values(rows), dtype=object),
            weights=pd.Series(item_values.weights(rows), dtype=object),
        )

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
        margin: float = MARGIN,
        over: Mapping[str, tuple[float, float]] | None = None,
    ) -> pd.DataFrame:
        """As `rayci.analysis.metrics`, of every model of the table.

        Where there are several, the first two columns are the `model` and its `parameters`; nothing is ever compared
        across models, and p is adjusted within each.
        """
        from rayci.analysis.composing.metric_table import metrics

        def read(table: Results) -> pd.DataFrame:
            return metrics(table, at, axis, criteria, along, size, within, margin, over)

        held = self.models()
        return read(self) if len(held) == 1 else _beside((model, read(self.of_model(model.name))) for model in held)

    def plot(self, criterion: str, methods: Sequence[str] = (), along: str | None = None) -> go.Figure:
        """An interactive figure of one criterion over γ, both orders of the pair that has these methods.

        Raises RequestError where no pair has them all, or several have.
        """
        from rayci.analysis.page.pair_figure import pair_figure

        return pair_figure(self, criterion, methods, along)

    def composable_share(self, epsilons: Mapping[str, float], along: str | None = None) -> pd.DataFrame:
        """As `rayci.analysis.composable_share`."""
        from rayci.analysis.composing.epsilon import composable_share

        return composable_share(self, epsilons, along)

    def recovered(self, criteria: Sequence[str] | None = None) -> pd.DataFrame:
        """As `rayci.analysis.recovered`."""
        from rayci.analysis.composing.recovered import recovered

        return recovered(self, criteria)

    def robustness(self, criteria: Sequence[str] | None = None) -> pd.DataFrame:
        """As `rayci.analysis.robustness`."""
        from rayci.analysis.composing.robustness import robustness

        return robustness(self, criteria)

    def print_figure(self, name: str, path: Path | str) -> Path:
        """As `rayci.analysis.print_figure`."""
        from rayci.analysis.page.printed import print_figure

        return print_figure(self, name, path)

    def wins(
        self,
        at: At = "published",
        digits: int = 2,
        criteria: Sequence[str] | None = None,
        along: str | None = None,
    ) -> pd.DataFrame:
        """As `rayci.analysis.wins`."""
        from rayci.analysis.composing.win_counts import wins

        return wins(self, at, digits, criteria, along)

    def interactions(
        self, at: At = "area", criteria: Sequence[str] | None = None, along: str | None = None, scale: str = "plain"
    ) -> pd.DataFrame:
        """As `rayci.analysis.interactions`."""
        from rayci.analysis.composing.excess import interactions

        return interactions(self, at, criteria, along, scale)

    def precedence(
        self,
        at: At = "area",
        criteria: Sequence[str] | None = None,
        along: str | None = None,
        size: int | None = None,
    ) -> pd.DataFrame:
        """As `rayci.analysis.precedence`."""
        from rayci.analysis.composing.swapped_orders import precedence

        return precedence(self, at, criteria, along, size)

    def attribution(
        self,
        at: At = "area",
        criteria: Sequence[str] | None = None,
        along: str | None = None,
        size: int | None = None,
    ) -> pd.DataFrame:
        """As `rayci.analysis.attribution`."""
        from rayci.analysis.composing.prefix_drops import attribution

        return attribution(self, at, criteria, along, size)

    def ranked_orders(
        self, criteria: Sequence[str] | None = None, along: str | None = None, size: int | None = None
    ) -> pd.DataFrame:
        """As `rayci.analysis.ranked_orders`."""
        from rayci.analysis.composing.best_orders import ranked_orders

        return ranked_orders(self, criteria, along, size)

    def final_values(self, criteria: Sequence[str] | None = None) -> pd.DataFrame:
        """As `rayci.analysis.final_values`."""
        from rayci.analysis.composing.stage_table import final_values

        return final_values(self, criteria)

    def time_split(self) -> pd.DataFrame:
        """As `rayci.analysis.time_split`."""
        from rayci.analysis.composing.time_split import time_split

        return time_split(self)

    def rules(self, at: At = "area") -> pd.DataFrame:
        """As `rayci.analysis.rules`."""
        from rayci.analysis.answering.ordering_rules.rule_table import rules

        return rules(self, at)

    def compare(self, there: ResultTable, at: At = "area") -> TwoTables:
        """As `rayci.analysis.compare`, this table the first."""
        from rayci.analysis.answering.two_tables import compare

        return compare(self, there, at)

    def which_order(
        self,
        at: At = "middle",
        axis: str = "scaled",
        criteria: Sequence[str] | None = None,
        along: str | None = None,
        sizes: Sequence[int] | None = None,
        within: Mapping[str, float] | None = None,
        margin: float = MARGIN,
        over: Mapping[str, tuple[float, float]] | None = None,
    ) -> WhichOrder:
        """As `rayci.analysis.which_order`."""
        from rayci.analysis.answering.which_order import which_order

        return which_order(self, at, axis, criteria, along, sizes, within, margin, over)

    def recommend(
        self, needs: Sequence[str] = (), minimize: str | None = None, maximize: str | None = None
    ) -> Recommendation:
        """As `rayci.analysis.recommend`."""
        from rayci.analysis.answering.recommendation import recommend

        return recommend(self, needs, minimize, maximize)

    def report(
        self,
        folder: Path | str,
        title: str | None = None,
        at: At = "area",
        beside: Iterable[str] = (),
        tracebacks: Sequence[tuple[str, str]] = (),
        spec: str | None = None,
        answer: WhichOrder | None = None,
    ) -> Path:
        """As `rayci.analysis.report`."""
        from rayci.analysis.page.html_report import report

        return report(self, folder, title, at, beside, tracebacks, spec, answer)


def load(source: Source) -> Results:
    """Read a file, a run folder, a folder of runs, a glob, an fsspec URL of these, `published:llama3_8b`, or a list.

    Of several runs equal rows count once. A file that somebody else wrote is taken where it has all columns; those
    that are not known pass through. Raises RequestError where there is no table, or where two give the same
    measurement different values, CorruptionError where a part of a run is damaged.
    """
    tables: dict[str, ResultTable] = {}
    for each in several(source):
        tables |= _tables(each)
    table = merge(tables or gather(source))
    return Results(**{each.name: getattr(table, each.name) for each in fields(table)})


def _tables(source: Path | str) -> dict[str, ResultTable]:
    if not isinstance(source, str) or not source.startswith(PUBLISHED):
        return gather(source)
    from rayci.analysis.scan.published import published

    return {source: published(source.removeprefix(PUBLISHED))}


def _beside(metrics: Iterable[tuple[Model, pd.DataFrame]]) -> pd.DataFrame:
    """The frames of several models as one."""
    import pandas as pd

    frames = []
    for model, frame in metrics:
        frame.insert(0, "model", pd.Series(model.name, frame.index, dtype="string"))
        frame.insert(1, "parameters", pd.Series(model.parameters or pd.NA, frame.index, dtype="Int64"))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)
