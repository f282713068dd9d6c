"""Every criterion after every stage as an array: units × chains, whatever the compositions were asked for.

What a curve holds ends where a composition ends. Interaction, attribution and the values along a chain need the stages
before it too, joined unit by unit: seeds averaged within an edit batch, rows without a batch standing for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayci.analysis.scan.asked import Asked, Composition, asked_steps
from rayci.analysis.scan.cells import refuse_mixture
from rayci.analysis.scan.curve import ABSENT
from rayci.analysis.scan.variant import labels
from rayci.analysis.statistics.piecewise import Array, Kept
from rayci.table import ResultTable

Transform = Callable[[Array, Array], Array]
"""Values and numbers of items (NaN where not known) to values on another scale; NaN where there is none."""

UNSCALED = "no value on this scale"
_COLUMNS = ("final", "criterion", "replicate", "seed", "value", "stderr", "n", "reason")


@dataclass(frozen=True, slots=True)
class Applied:
    """One step of a chain."""

    step: Asked
    recompression: str | None
    """`refit` or `reproject` where the step is the re-compression of an earlier one."""


Chain = tuple[Applied, ...]
"""Everything that was applied, re-compression included; empty for the untouched model."""


@dataclass(frozen=True, slots=True)
class After:
    """What a value is taken after."""

    name: str
    chain: Chain | None
    """None where the composition was not asked for."""
    place: int = -1
    """Of the chain among those of its table; −1 for none."""


@dataclass(frozen=True)
class UnitValues:
    """Values of some chains, unit by unit."""

    values: Array
    """`[units, chains]`; NaN where there is no value."""
    units: str | None
    """`replicates`, `seeds`, or None where there is one measurement of everything."""
    rows: NDArray[np.intp] | None
    """The table's row of each chain `[chains]` where everything was measured once, −1 where none is; else None."""


@dataclass(frozen=True)
class ChainValues:
    """One criterion after every stage."""

    criterion: str
    values: Array
    """`[replicates, seeds, chains + 1]`; rows that do not say which stand for all. The last chain is nowhere."""
    rows: NDArray[np.intp]
    """The table's row of each value, or of the failure that took its place; −1 where there is none."""
    depends: Kept
    """`[2, chains + 1]`: whether a chain has rows of single replicates, and of single seeds."""
    reasons: Mapping[Chain, str]
    """Why a chain has no value in some unit."""

    def of(self, stages: Sequence[After]) -> UnitValues:
        """Values after some chains on the units that these have together; NaN after one that was not asked for."""
        columns = [stage.place for stage in stages]
        depends = self.depends[:, columns]
        batched, seeded = (bool(row.any()) for row in depends)
        kept = (slice(None if batched else 1), slice(None if seeded else 1))
        values, rows = self.values[kept][..., columns], self.rows[kept][..., columns]
        # Who has both batches and seeds says which there are; a chain that stands for all covers those that failed too.
        telling = (depends == depends.any(axis=1, keepdims=True)).all(axis=0)
        there: Kept = np.asarray((rows[..., telling if telling.any() else slice(None)] >= 0).any(axis=-1))
        once = rows[there][0] if there.sum() == 1 else None
        if not batched:
            return UnitValues(values[0][there[0]], "seeds" if seeded else None, once)
        counts = there.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):  # ∞ − ∞ among seeds, and 0 / 0 where a batch has none
            means = np.where(there[..., None], values, 0.0).sum(axis=1) / counts
        return UnitValues(means[counts[:, 0] > 0], "replicates", once)

    def alike(self, stages: Sequence[After]) -> list[list[int]]:
        """The places of stages that have the same units, together."""
        together: dict[tuple[bytes, bytes], list[int]] = {}
        for place, stage in enumerate(stages):
            key = self.depends[:, stage.place].tobytes(), (self.rows[..., stage.place] >= 0).tobytes()
            together.setdefault(key, []).append(place)
        return list(together.values())

    def why(self, stage: After) -> str:
        """Why there is no value."""
        asked = (self.rows[..., stage.place] >= 0).any()
        return self.reasons.get(stage.chain or (), UNSCALED) if asked else ABSENT


class Chains:
    """All chains of a table; RequestError where it holds several models or re-compression policies."""

    def __init__(self, table: ResultTable) -> None:
        refuse_mixture(table.columns(["model", "recompress"]))
        self._rows = table.arrow.select(list(_COLUMNS))
        stages, firsts = _stages(table.arrow.column("stage_fingerprint"))
        identities = _identities(table.arrow.select(["chain", "steps"]).take(pa.array(firsts))).dictionary_encode()
        codes = identities.indices.to_numpy()
        firsts = firsts[np.unique(codes, return_index=True)[1]]
        parsed = [_chain(steps) for steps in table.arrow.column("steps").take(pa.array(firsts)).to_pylist()]
        distinct = list(dict.fromkeys(parsed))
        self.places: dict[Chain, int] = {chain: place for place, chain in enumerate(distinct)}
        self._codes = np.array([self.places[chain] for chain in parsed], dtype=np.intp)[codes][stages]
        final = np.unique(self._codes[self._rows.column("final").to_numpy()])
        self.finals: dict[Composition, Chain] = {asked(distinct[code]): distinct[code] for code in final}
        """Composition -> the chain at which it ends under the sweep's policy."""
        self._ends: dict[Composition, After] = {}

    def ending(self, composition: Composition) -> After:
        """Where a composition ends."""
        if composition not in self._ends:
            self._ends[composition] = self._after(self.name(composition), self.finals.get(composition))
        return self._ends[composition]

    def along(self, composition: Composition) -> list[After]:
        """Every stage of a composition, the untouched model first; empty where it was not asked for."""
        chain = self.finals.get(composition)
        return [] if chain is None else [self._after(self.name(chain[:n]), chain[:n]) for n in range(len(chain) + 1)]

    def _after(self, name: str, chain: Chain | None) -> After:
        return After(name, chain, -1 if chain is None else self.places.get(chain, -1))

    @cached_property
    def _labels(self) -> Mapping[Any, str]:
        return labels({applied.step.variant for chain in self.places for applied in chain}, {})

    def name(self, steps: Iterable[Asked | Applied]) -> str:
        """A composition or chain as text, `wanda@0.5 > ft`; settings only where two of a method differ."""
        texts = []
        for entry in steps:
            step, again = (entry.step, entry.recompression) if isinstance(entry, Applied) else (entry, None)
            text = self._labels[step.variant] + ("" if step.strength is None else f"@{step.strength:g}")
            texts.append(f"{again}({text})" if again else text)
        return " > ".join(texts) or "untouched model"

    def read(self, criterion: str, transform: Transform | None = None, column: str = "value") -> ChainValues:
        """One criterion, on another scale if asked; or another column of numbers, `stderr` or `n`."""
        chosen = np.flatnonzero(pc.equal(self._rows.column("criterion"), criterion).to_numpy())
        rows, codes = self._rows.take(pa.array(chosen)), self._codes[chosen]
        numbers = _numbers(rows.column(column))
        if transform is not None:
            numbers = transform(numbers, _numbers(rows.column("n")))
        units = [_axis(rows.column(name)) for name in ("replicate", "seed")]
        shape = (*(count for count, _ in units), len(self.places) + 1)
        values, taken = np.full(shape, np.nan), np.full(shape, -1, dtype=np.intp)
        own = np.stack([place >= 0 for _, place in units])
        for said in ((False, False), (True, False), (False, True), (True, True)):  # what says more comes last
            here = np.flatnonzero((own == np.array(said)[:, None]).all(axis=0))
            replicate, seed = (
                place[here, None] if single else np.arange(count)[None]
                for single, (count, place) in zip(said, units, strict=True)
            )
            index = (replicate[:, :, None], seed[:, None, :], codes[here, None, None])
            values[index], taken[index] = numbers[here, None, None], chosen[here, None, None]
        depends = np.zeros((2, shape[-1]), dtype=bool)
        for row, single in zip(depends, own, strict=True):
            row[codes[single]] = True
        return ChainValues(criterion, values, taken, depends, self._reasons(rows, codes))

    def _reasons(self, rows: pa.Table, codes: NDArray[np.intp]) -> dict[Chain, str]:
        known = list(self.places)
        lost = np.flatnonzero(rows.column("value").is_null().to_numpy())
        texts = rows.column("reason").take(pa.array(lost)).to_pylist()
        return {known[codes[row]]: text for row, text in zip(lost, texts, strict=True)}


def asked(chain: Chain) -> Composition:
    """The steps of a chain that its composition asked for."""
    return tuple(applied.step for applied in chain if applied.recompression is None)


def _chain(steps: Sequence[dict[str, Any]]) -> Chain:
    plain = asked_steps([{**step, "recompression": None} for step in steps])
    return tuple(Applied(step, row["recompression"]) for step, row in zip(plain, steps, strict=True))


def _stages(fingerprints: pa.ChunkedArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which stage each row is of `[rows]`, and the first row of each: rows of a stage follow each other."""
    begins = np.ones(len(fingerprints), dtype=bool)
    begins[1:] = pc.not_equal(fingerprints[1:], fingerprints[:-1]).to_numpy()
    return np.cumsum(begins) - 1, np.flatnonzero(begins)


def _identities(stages: pa.Table) -> pa.Array:
    """Chain and settings as one text, so that steps are parsed once per distinct chain."""
    chain, steps = (stages.column(name).combine_chunks() for name in ("chain", "steps"))
    settings = pc.struct_field(steps.flatten(), "settings")
    offsets = pc.subtract(steps.offsets, steps.offsets[0])
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, settings), "\n")
    return pc.binary_join_element_wise(chain, joined, "\n")


def _numbers(column: pa.ChunkedArray) -> Array:
    """As float64, NaN for null."""
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _axis(column: pa.ChunkedArray) -> tuple[int, NDArray[np.intp]]:
    """How many units a column names, at least one, and the place of each row among them; −1 for null."""
    held = pc.drop_null(column.unique()).sort()
    places = pc.fill_null(pc.index_in(column, value_set=held), -1)
    return max(len(held), 1), np.asarray(places.to_numpy(), dtype=np.intp)
