"""Tables that hold several models side by side: which they are, and one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from rayci.errors import RequestError, nearest


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a table."""

    name: str
    fingerprint: str
    """Of its weights and configuration; empty where the table does not say, as published ones."""
    parameters: int | None
    """How many numbers its weights are; None where no run says so."""


def models_of(rows: pl.LazyFrame, parameters: Mapping[str, int]) -> list[Model]:
    """Every model by size, then by name; `rows`: columns model and model_fingerprint; `parameters` by fingerprint."""
    held = rows.cast(pl.String).unique().collect().rows()
    models = [Model(name, fingerprint, parameters.get(fingerprint)) for name, fingerprint in held]
    return sorted(models, key=lambda model: (model.parameters or 0, model.name))


def rows_of_model(rows: pa.Table, models: list[Model], asked: str) -> pa.Table:
    """The rows of the model with this name, or whose fingerprint begins so; RequestError where that is not one."""
    meant = [model for model in models if asked == model.name] or [
        model for model in models if asked and model.fingerprint.startswith(asked)
    ]
    if len(meant) != 1:
        names = [model.name for model in models]
        problem = f"{len(meant)} models are called" if meant else "no model of the table is called"
        raise RequestError(f"{problem} {asked!r}", at="--model", allowed=", ".join(names), hint=nearest(asked, names))
    return rows.filter(pc.field("model_fingerprint") == meant[0].fingerprint).filter(pc.field("model") == meant[0].name)
