"""From rows to visits: what a worker spent on a stage counts once, though every row of the visit says it.

A visit of version 1, which has no mark of its own, is the stage: all of its rows say how long its step took.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rayci.table.schema import KEY, SCHEMA

if TYPE_CHECKING:
    import polars as pl

SECONDS = ("load_seconds", "apply_seconds", "measure_seconds", "store_seconds", "idle_seconds")
TIMES = (
    *KEY, "schema_version", "recorded_at", *SECONDS, "apply_operations", "measure_operations", "device_rate",
    "peak_memory_bytes",
)  # fmt: skip
"""Columns of the table that `visits` reads."""


def visits(rows: pl.LazyFrame, *beside: str) -> pl.LazyFrame:
    """One row a visit, from `TIMES` of each row: the stage, `SECONDS`, the peak, and what `beside` names of the stage.

    `apply_done` and `measure_done` are operations, `apply_possible` and `measure_possible` those that the device could
    have done in the same seconds: both null where a method does not say what it does, or nobody knows the rate.
    """
    import polars as pl

    mark = pl.when(pl.col("schema_version") > 1).then("recorded_at").alias("mark")
    of_step = [pl.col(name).max() for name in SECONDS if name != "measure_seconds"]
    of_readings = [known_sum("measure_seconds")]
    for name in ("apply", "measure"):
        possible, done = pl.col(f"{name}_seconds") * pl.col("device_rate"), pl.col(f"{name}_operations")
        known = done.is_not_null() & (possible > 0)
        for value, what in ((done, "done"), (possible, "possible")):
            told = pl.when(known).then(value).alias(f"{name}_{what}")
            of_step += [told.max()] if name == "apply" else [told.sum()]
    stages = rows.group_by("stage_fingerprint", mark, maintain_order=True)
    return stages.agg(
        *of_step, *of_readings, pl.col("peak_memory_bytes").max(), *(pl.col(name).first() for name in beside)
    )


def times_in(folder: Path) -> pl.LazyFrame:
    """`TIMES` of all rows in a folder of parts as it is now, each reading once: looked at, not checked."""
    import polars as pl

    schema = {name: kind for name, kind in pl.DataFrame(SCHEMA.empty_table()).schema.items() if name in TIMES}
    files = sorted(folder.glob("[!.]*.parquet"))
    rows = pl.scan_parquet(files, glob=False, schema=schema, missing_columns="insert", extra_columns="ignore")
    return rows.unique(KEY)


def utilisation(activity: str) -> pl.Expr:
    """Share of what the device could have done in `apply` or `measure`, over visits; null where nobody knows."""
    import polars as pl

    done, possible = (pl.col(f"{activity}_{what}").sum() for what in ("done", "possible"))
    return pl.when(possible > 0).then(done / possible).alias(f"{activity}_utilisation")


def known_sum(name: str) -> pl.Expr:
    """The sum of what is known; null where nothing is."""
    import polars as pl

    return pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name)
