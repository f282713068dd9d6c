"""Where the time went: seconds of the workers by what they did, and by the last step of the stage they did it for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rayci.table import SECONDS, TIMES, ResultTable, known_sum, utilisation, visits

if TYPE_CHECKING:
    import pandas as pd

UNTOUCHED = "untouched model"


def time_split(table: ResultTable) -> pd.DataFrame:
    """One row for each method, apart where it is re-compression (`kind` refit or reproject), the longest first.

    `stages`; `load_seconds`, `apply_seconds`, `measure_seconds`, `store_seconds`, `idle_seconds` of all visits to
    them, null where no row says (version 1 knows two of the five); `seconds`, their sum, and its `share` of the
    table's; `apply_median`, seconds of a step that was applied; `apply_utilisation` and `measure_utilisation`, shares
    of the operations that the devices could have done; `peak_memory_bytes`. No rows where no time was recorded.
    """
    import polars as pl

    last = pl.col("steps").list.last().struct
    kind = pl.coalesce(last.field("recompression"), last.field("kind"), pl.lit(UNTOUCHED)).alias("kind")
    rows = table.columns([*TIMES, "steps"]).select(*TIMES, kind, last.field("method").alias("method"))
    split = (
        visits(rows, "kind", "method")
        .group_by("kind", "method", maintain_order=True)
        .agg(
            pl.col("stage_fingerprint").n_unique().cast(pl.Int64).alias("stages"),
            *(known_sum(name) for name in SECONDS),
            pl.sum_horizontal(SECONDS).sum().alias("seconds"),
            pl.col("apply_seconds").filter(pl.col("apply_seconds") > 0).median().alias("apply_median"),
            utilisation("apply"),
            utilisation("measure"),
            pl.col("peak_memory_bytes").max(),
        )
        .filter(pl.col("seconds") > 0)
        .with_columns((pl.col("seconds") / pl.col("seconds").sum()).alias("share"))
        .sort("seconds", descending=True, maintain_order=True)
    )
    columns = split.collect_schema().names()
    columns.insert(columns.index("seconds") + 1, columns.pop())
    return split.select(columns).collect().to_pandas()
