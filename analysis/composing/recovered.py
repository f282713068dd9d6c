"""What quantising, or training further, brings back of what was unlearned.

    recovered = (c(X∘U) − c(U)) / (c(X) − c(U))          U unlearner, X what follows, c a criterion of forgetting

It is 0 where what was forgotten stays forgotten, and 1 where the model then knows as much as one that was quantised,
or trained on the same text, without unlearning ("Catastrophic failure of LLM unlearning via quantization", arXiv
2410.16454; for training the same share).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rayci.analysis.scan.curve import ABSENT
from rayci.analysis.scan.variant import method_of, number_format
from rayci.errors import RequestError
from rayci.kinds import Direction, Kind, Scale
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

LEAST_SHARE = 0.02
"""Share of the range below which c(X) − c(U) is no knowledge that could come back."""
_NAMES = ("model", "criterion", "unlearner", "then", "strength_name")
_UNIT = ("replicate", "seed")
_NUMBERS = ("untouched", "unlearned", "then_alone", "unlearned_then", "recovered")
COLUMNS = (*_NAMES, "strength", "relearns", *_UNIT, *_NUMBERS, "reason")

Unit = tuple[int | None, int | None]
"""Edit batch and seed."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A composition `U > X` with the compositions that it is made of, all as the table names them."""

    composition: str
    first: str
    then: str
    strength_name: str | None
    strength: float | None
    """None where γ is no choice: of a number format, whose name says the bits."""
    relearns: bool
    """Whether X trains on what was to be forgotten."""

    @property
    def method(self) -> str:
        """X without its γ."""
        if self.strength is None:
            return self.then
        _, brace, settings = self.then.partition("{")
        return method_of(self.then) + brace + settings

    @property
    def rank(self) -> tuple[str, bool, str, float]:
        """Sort key: U; quantisers before trainers; X; from the mildest on: most bits, or least training."""
        gamma = self.strength or 0.0
        bits = self.strength_name == "bits"
        return self.first, not bits, self.method, -gamma if bits else gamma


@dataclass(frozen=True, slots=True)
class _Reading:
    value: float | None
    reason: str | None


_Readings = Mapping[Unit, _Reading]
_NOTHING = _Reading(None, ABSENT)


def recovered(table: ResultTable, criteria: Sequence[str] | None = None) -> pd.DataFrame:
    """One row for every model, criterion, unlearner → X chain, edit batch and seed, these in their order.

    X is a quantiser or trains further. Columns: COLUMNS. `untouched` … `unlearned_then` are c(0), c(U), c(X) and c(X∘U)
    in the criterion's unit; `recovered` is a share, null with a `reason` where c(X) exceeds c(U) by less than
    LEAST_SHARE of the range, or a value is missing; `strength` is X's γ, null for a number format; `relearns`: X trains
    on what was to be forgotten. A reading without a seed or batch stands for all of them. `criteria`: by default all
    where less is better and the range is closed. Raises RequestError for a criterion that is none of these.
    """
    import pandas as pd

    scales = forgetting(table, criteria)
    final = table.arrow.filter(pc.field("final") & _among("criterion", scales))
    chains = chains_of(final)
    readings = _readings(final, {name for c in chains for name in ("", c.first, c.then, c.composition)})
    rows = [
        {"model": model, "criterion": criterion, **row}
        for (model, criterion), by_composition in readings.items()
        for chain in chains
        for row in _rows(chain, by_composition, scales[criterion])
    ]
    types = {**dict.fromkeys(_UNIT, "Int64"), **dict.fromkeys(("strength", *_NUMBERS), "Float64"), "relearns": "bool"}
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({**types, **dict.fromkeys((*_NAMES, "reason"), "string")})


def chains_of(rows: pa.Table, first: Kind = Kind.UNLEARN) -> list[Chain]:
    """Every composition of a method of this kind and then a quantiser or a trainer, in the order of `Chain.rank`."""
    compositions = np.asarray(rows.column("composition"), dtype=object)
    first_rows = np.unique(compositions.astype(str), return_index=True)[1]
    each = rows.take(pa.array(first_rows)).select(["composition", "steps"]).to_pylist()
    chains = [chain for row in each if (chain := _chain(row["composition"], row["steps"], first))]
    return sorted(chains, key=lambda chain: chain.rank)


def _chain(composition: str, steps: Sequence[Mapping[str, Any]], first: Kind) -> Chain | None:
    asked = [step for step in steps if step["recompression"] is None]
    if len(asked) != 2 or asked[0]["kind"] != first:
        return None
    last = asked[1]
    if last["strength_name"] != "bits" and last["kind"] != Kind.TRAIN:
        return None
    alone, _, then = composition.rpartition(" > ")
    relearns = last["kind"] == Kind.TRAIN and json.loads(last["settings"] or "{}").get("on") == "forget"
    name = last["strength_name"]
    strength = None if number_format(last["settings"], name) else last["strength"]
    return Chain(composition, alone, then, name, strength, relearns)


def forgetting(table: ResultTable, asked: Sequence[str] | None) -> dict[str, Scale]:
    """Criteria that fall when something is forgotten, by name."""
    held = {
        name: scale
        for name, scale in table.scales.items()
        if scale.direction is Direction.LOWER and scale.low is not None and scale.high is not None
    }
    for name in asked or ():
        if name not in held:
            raise RequestError(f"{name!r} does not say what was forgotten", allowed=", ".join(held) or "none")
    return held if asked is None else {name: held[name] for name in asked}


def _readings(rows: pa.Table, compositions: set[str]) -> dict[tuple[str, str], dict[str, dict[Unit, _Reading]]]:
    """(model, criterion) -> composition -> reading of every unit."""
    columns = ["model", "criterion", "composition", *_UNIT, "value", "reason"]
    readings: dict[tuple[str, str], dict[str, dict[Unit, _Reading]]] = {}
    for row in rows.filter(_among("composition", compositions)).select(columns).to_pylist():
        by_unit = readings.setdefault((row["model"], row["criterion"]), {}).setdefault(row["composition"], {})
        by_unit[row["replicate"], row["seed"]] = _Reading(row["value"], row["reason"])
    return readings


def _among(column: str, texts: Iterable[str]) -> pc.Expression:
    return pc.field(column).isin(pa.array(texts, pa.string()))  # typed: there may be none


def _rows(chain: Chain, readings: Mapping[str, _Readings], scale: Scale) -> Iterator[dict[str, Any]]:
    named = {
        "unlearner": chain.first,
        "then": chain.method,
        "strength_name": chain.strength_name,
        "strength": chain.strength,
        "relearns": chain.relearns,
    }
    for unit in sorted(readings.get(chain.composition, {}), key=_in_order):
        untouched, unlearned, alone, both = (
            _of(readings.get(name, {}), unit) for name in ("", chain.first, chain.then, chain.composition)
        )
        numbers = _shares(chain, unlearned, alone, both, scale)
        yield {**named, **dict(zip(_UNIT, unit, strict=True)), "untouched": untouched.value, **numbers}


def _of(readings: _Readings, unit: Unit) -> _Reading:
    """The reading of a unit; one without edit batch or seed stands for all."""
    replicate, seed = unit
    held = ((replicate, seed), (None, seed), (replicate, None), (None, None))
    return next((readings[own] for own in held if own in readings), _NOTHING)


def _shares(chain: Chain, unlearned: _Reading, alone: _Reading, both: _Reading, scale: Scale) -> dict[str, Any]:
    """Values and recovered share of one unit."""
    named = {chain.first: unlearned, chain.then: alone, chain.composition: both}
    reason = "; ".join(f"{name}: {reading.reason}" for name, reading in named.items() if reading.value is None)
    share = None
    if unlearned.value is not None and alone.value is not None and both.value is not None:
        known = alone.value - unlearned.value
        if known < LEAST_SHARE * (top(scale) - (scale.low or 0.0)):
            ends = f"{chain.then} {alone.value:.2f}, {chain.first} {unlearned.value:.2f}"
            done = "trained further" if chain.strength_name != "bits" else "quantised"
            reason = f"{done}, the model knows hardly more than unlearned ({ends}): nothing to bring back"
        else:
            share = (both.value - unlearned.value) / known
    return {
        "unlearned": unlearned.value,
        "then_alone": alone.value,
        "unlearned_then": both.value,
        "recovered": share,
        "reason": reason or None,
    }


def top(scale: Scale) -> float:
    """The value of a model that knows everything."""
    assert scale.high is not None, "the range is closed"
    return scale.high


def _in_order(unit: Unit) -> tuple[int, int]:
    return (-1 if unit[0] is None else unit[0], -1 if unit[1] is None else unit[1])
