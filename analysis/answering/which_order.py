"""In which order? What a sweep says about every set of methods, at one place of its strengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from rayci.analysis.answering import sentences
from rayci.analysis.answering.aims import utility_criterion
from rayci.analysis.answering.chains import Chain, chains
from rayci.analysis.answering.comparisons import Comparison, Utility, comparisons
from rayci.analysis.composing.metric_table import METHODS, metrics
from rayci.analysis.composing.swapped_orders import precedence
from rayci.analysis.scan.cells import chosen_criteria, scale_of
from rayci.analysis.scan.reading_point import At
from rayci.analysis.statistics.verdicts import MARGIN
from rayci.errors import RequestError
from rayci.kinds import Direction, Scale
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd


_SENTENCES_SHOWN = 4


@dataclass(frozen=True, repr=False)
class WhichOrder:
    """Orders compared where both ran; what chains end with where one did."""

    frames: Mapping[int, pd.DataFrame]
    """Number of methods -> their composability table."""
    compared: Mapping[int, Sequence[Comparison]]
    """Number of methods -> sets and criteria that have two orders to compare."""
    precedences: pd.DataFrame | None
    """Of every two methods within a set of three and more: which should go first, as `precedence` tells; None where
    there is no such set, or where it is read under a bound or on another axis."""
    apart: Sequence[Comparison]
    """Sets and criteria that cannot be compared; `reason` says why."""
    endings: Sequence[Chain]
    """Chains of methods of which one order ran, with their single methods and the untouched model before them."""
    criteria: Sequence[str]
    where: str
    """` at …`: which strengths were read."""

    def __repr__(self) -> str:
        cells = sum(len(held) for held in self.compared.values())
        told = [f"WhichOrder({cells} cells compared{self.where}, {len(self.apart)} that cannot be)"]
        more = len(self.sentences) - _SENTENCES_SHOWN
        told += [*self.sentences[:_SENTENCES_SHOWN], *([f"… {more} more in .sentences"] if more > 0 else [])]
        return "\n  ".join(told)

    @cached_property
    def sentences(self) -> list[str]:
        """The answer in words, one list of sentences after the other for pairs, triples and fours."""
        return [said for held in self.compared.values() for said in sentences.sentences(held, self.where)]


def which_order(
    table: ResultTable,
    at: At = "middle",
    axis: str = "scaled",
    criteria: Sequence[str] | None = None,
    along: str | None = None,
    sizes: Sequence[int] | None = None,
    within: Mapping[str, float] | None = None,
    margin: float = MARGIN,
    over: Mapping[str, tuple[float, float]] | None = None,
) -> WhichOrder:
    """Which order of every set of methods is better, by how much, whether that is shown, and what it costs.

    `sizes`: numbers of methods, by default all that the table composes, up to four. All else as in `metrics`.
    Raises RequestError as `metrics` does, and for a size that the table does not hold.
    """
    names = chosen_criteria(table, criteria)
    ended = chains(table)
    scales = {name: scale_of(table, name) for name in chosen_criteria(table, None)}
    ranges = {name: scale.width for name, scale in scales.items() if scale.width is not None}
    utility = _utility(scales, ended)
    read = partial(metrics, table, at=at, axis=axis, along=along, within=within, margin=margin, over=over)
    frames: dict[int, pd.DataFrame] = {}
    compared: dict[int, list[Comparison]] = {}
    apart: list[Comparison] = []
    for size in _sizes(ended, sizes):
        frames[size] = read(criteria=names, size=size)
        beside = None if utility is None or utility.criterion in names else utility.criterion
        costs = read(criteria=[beside], size=size) if beside else None
        compared[size], lacking = comparisons(frames[size], utility, ranges, costs)
        apart += lacking
    plain = axis == "scaled" and not (within or over) and any(size > 2 for size in frames)
    precedences = precedence(table, at, names, along) if plain else None
    return WhichOrder(frames, compared, precedences, apart, _one_order(ended, sizes), names, where_read(frames, at))


def _utility(scales: Mapping[str, Scale], ended: Sequence[Chain]) -> Utility | None:
    criterion = utility_criterion(scales)
    if criterion is None:
        return None
    untouched = next(
        (chain.endings[criterion].mean for chain in ended if not chain.steps and criterion in chain.endings), None
    )
    return Utility(criterion, untouched, 1 if scales[criterion].direction is Direction.HIGHER else -1)


def _sizes(ended: Sequence[Chain], asked: Sequence[int] | None) -> list[int]:
    """Numbers of methods to compare; RequestError where none of the asked ones is there."""
    held = sorted({len(chain.steps) for chain in ended if len({step.variant for step in chain.steps}) > 1})
    comparable = [size for size in held if size <= len(METHODS)]
    for size in asked or ():
        if size not in comparable:
            allowed = ", ".join(map(str, comparable)) or "none: the table composes no two methods"
            raise RequestError(f"no sets of {size} methods in the table", at="--size", allowed=allowed)
    return sorted(set(asked)) if asked else comparable or [2]


def _one_order(ended: Sequence[Chain], sizes: Sequence[int] | None) -> list[Chain]:
    orders: dict[object, set[object]] = {}
    for chain in ended:
        orders.setdefault(_methods(chain), set()).add(tuple(step.variant for step in chain.steps))
    alone = [chain for chain in ended if len(chain.steps) > 1 and len(orders[_methods(chain)]) == 1]
    alone = [chain for chain in alone if sizes is None or len(chain.steps) in sizes]
    if not alone and any(len(chain.steps) > 1 for chain in ended):
        return []
    singles = {step for chain in alone for step in chain.steps}
    beside = [chain for chain in ended if len(chain.steps) < 2 and set(chain.steps) <= singles]
    told = {chain.composition for chain in (*alone, *beside)}
    return [chain for chain in ended if not alone or chain.composition in told]


def _methods(chain: Chain) -> object:
    return tuple(sorted(step.variant.rank for step in chain.steps))


def where_read(frames: Mapping[int, pd.DataFrame], at: At) -> str:
    """` at the middle of each sweep`, for the end of a sentence about composability tables; empty without a sweep."""
    if at == "area":
        return ", as areas over the strength"
    if all(frame["strength"].isna().all() for frame in frames.values()):
        return ""
    return {"middle": " at the middle of each sweep", "published": " at the published strengths"}.get(
        str(at), f" at {at}"
    )
