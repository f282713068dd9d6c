"""Which chain to build: those that meet what is needed, what they cost, and how sure that is."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rayci.analysis.answering.aims import utility_criterion
from rayci.analysis.answering.between import Between, strengths_between
from rayci.analysis.answering.certainty import chances, sampled
from rayci.analysis.answering.chains import Chain, chains
from rayci.analysis.answering.needs import Estimate, Need, Objective, Quantity, need, quantity
from rayci.analysis.answering.pareto import undominated
from rayci.analysis.scan.cells import scale_of
from rayci.analysis.statistics.piecewise import Array
from rayci.analysis.text.tables import short
from rayci.errors import RequestError
from rayci.kinds import Direction, Scale
from rayci.table import ResultTable

_STAGE_TOLD = 12
"""Characters of a stage's fingerprint that tell it from the others of a run."""


@dataclass(frozen=True)
class Option:
    """One chain as an answer to the needs."""

    chain: Chain
    estimates: Mapping[str, Estimate]
    """By quantity: those that are needed, and the objective."""
    met: bool
    """Whether its means keep every bound."""
    shown: bool
    """Whether the whole 95 % intervals do."""
    chance_meets: float | None = None
    """Probability that it meets every need; None where a value has no interval."""
    chance_best: float | None = None
    """Probability that it does, and that no other chain that does has a better objective."""
    undominated: bool = False
    """Whether no other chain is as good in all that is needed and wanted, and better in one."""


@dataclass(frozen=True, repr=False)
class Recommendation:
    """Chains that meet the needs, best first, and what stands around them."""

    needs: Sequence[Need]
    objective: Objective
    options: Sequence[Option]
    """Those that meet the needs: shown ones first, then those that do in the mean only; each by the objective."""
    pareto: Sequence[Option]
    """Chains than which no other is as good in every quantity and better in one, by the objective."""
    other_orders: Sequence[Option]
    """The same methods as the first option's, at the same strengths, in the other orders that were measured."""
    between: Sequence[Between]
    """Strengths between measured ones that would be better, by straight lines, in the mean: nobody measured them."""
    units: int
    """Edit batches or seeds that the chance stands on."""
    interval_of: str | None
    """`replicates` or `seeds`; None where there is one measurement, and items are what it stands on."""
    candidates: Sequence[Option]
    """All chains that have every value."""
    lost: Mapping[str, str]
    """Chain -> why it could not be judged."""
    model: str

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {short(estimate.mean)}" for name, estimate in self.first.estimates.items())
        met = f"{len(self.options)} of {len(self.candidates)} chains meet the needs"
        return f"Recommendation({self.first.chain.composition}: {values}; {met}, {len(self.lost)} not judged)"

    @property
    def quantities(self) -> list[Quantity]:
        """What is needed and wanted, each once."""
        return list(dict.fromkeys([*(bound.quantity for bound in self.needs), self.objective.quantity]))

    @property
    def ranked(self) -> list[Option]:
        """The options that the first is the best of: those that are shown to meet the needs, else all."""
        return [option for option in self.options if option.shown is self.first.shown]

    @property
    def first(self) -> Option:
        """The chain to build."""
        return self.options[0]

    def command(self, source: str | None = None) -> str:
        """What builds the model; of a run at `source` from its stage, so with its very settings."""
        chain = self.first.chain
        what = ["--run", source, "--stage", chain.stage[:_STAGE_TOLD]] if source else [self.model, chain.composition]
        return shlex.join(["rayci", "apply", *what, "--out", "DIR"])


def recommend(
    table: ResultTable, needs: Sequence[str] = (), minimize: str | None = None, maximize: str | None = None
) -> Recommendation:
    """The chains of a sweep that meet the needs, best first.

    `needs`: `wmdp<=0.30`, `abs(privleak)<=10`, …: each criterion's mean over edit batches (or seeds; of one
    measurement, over its items), judged by the end of its 95 % interval that is closest to the bound. `minimize` or
    `maximize`: a criterion, by default general utility, as good as can be. Raises RequestError for a need that cannot
    be read, for an unknown criterion, and where no chain meets the needs even in the mean: it names the nearest.
    """
    names = table.arrow.column("criterion").unique().to_pylist()
    scales = {name: scale_of(table, name) for name in sorted(names)}
    bounds = [need(text, scales) for text in needs]
    objective = _objective(scales, minimize, maximize)
    quantities = list(dict.fromkeys([*(bound.quantity for bound in bounds), objective.quantity]))
    measured = [chain for chain in chains(table, [q.criterion for q in quantities]) if chain.steps]
    judged = [_option(chain, bounds, quantities) for chain in measured]
    lost = {option.chain.composition: _why(option, quantities) for option in judged if not _complete(option)}
    complete = _weighed([option for option in judged if _complete(option)], bounds, objective)
    ranked = sorted(complete, key=lambda option: _rank(option, objective))
    options = [option for option in ranked if option.met]
    if not options:
        raise _nobody(complete, bounds, lost)
    first = options[0]
    least = objective.cost(first.estimates[str(objective.quantity)].mean or 0.0)
    longest = max((first.chain.endings[q.criterion] for q in quantities), key=lambda ending: len(ending.by_unit))
    return Recommendation(
        needs=bounds,
        objective=objective,
        options=options,
        pareto=sorted((o for o in ranked if o.undominated), key=lambda option: _rank(option, objective)[1:]),
        other_orders=[o for o in ranked if o.chain.members == first.chain.members and o is not first],
        between=strengths_between([option.chain for option in complete], bounds, objective, least),
        units=len(longest.by_unit),
        interval_of=longest.units,
        candidates=complete,
        lost=lost,
        model=table.arrow.column("model")[0].as_py(),
    )


def _weighed(options: Sequence[Option], needs: Sequence[Need], objective: Objective) -> list[Option]:
    """The options beside each other: whom nobody dominates, and their chances where it is known how sure values are."""
    if not options:
        return []
    free = undominated(_costs(options, needs, objective))
    told = chances(sampled([option.chain for option in options], needs, objective))
    quantities = [*(need.quantity for need in needs), objective.quantity]
    weighed = []
    for place, option in enumerate(options):
        sure = _errors_known(option, quantities)
        meets, best = (float(share[place]) if sure else None for share in (told.meets, told.best))
        weighed.append(replace(option, undominated=bool(free[place]), chance_meets=meets, chance_best=best))
    return weighed


def _errors_known(option: Option, quantities: Sequence[Quantity]) -> bool:
    """Whether every value of a chain that was not measured on the weights has a standard error."""
    endings = [option.chain.endings[quantity.criterion] for quantity in quantities if not quantity.exact]
    return all(ending.summary.stderr is not None for ending in endings)


def _objective(scales: Mapping[str, Scale], minimize: str | None, maximize: str | None) -> Objective:
    if minimize is not None and maximize is not None:
        raise RequestError("one of --minimize and --maximize", at="--maximize", hint="the other as a --need")
    if minimize is not None:
        return Objective(quantity(minimize, scales, "--minimize"), minimize=True)
    if maximize is not None:
        return Objective(quantity(maximize, scales, "--maximize"), minimize=False)
    utility = utility_criterion(scales)
    if utility is None:
        known = ", ".join(scales)
        raise RequestError("no criterion of utility to choose by", at="--minimize", allowed=known, hint="or --maximize")
    return Objective(quantity(utility, scales, "--minimize"), scales[utility].direction is not Direction.HIGHER)


def _option(chain: Chain, needs: Sequence[Need], quantities: Sequence[Quantity]) -> Option:
    estimates = {str(q): q.of(chain.endings.get(q.criterion)) for q in quantities}
    met = all(need.met(estimates[str(need.quantity)]) for need in needs)
    return Option(chain, estimates, met, met and all(need.shown(estimates[str(need.quantity)]) for need in needs))


def _complete(option: Option) -> bool:
    return all(estimate.mean is not None for estimate in option.estimates.values())


def _why(option: Option, quantities: Sequence[Quantity]) -> str:
    endings = {q.criterion: option.chain.endings.get(q.criterion) for q in quantities}
    reasons = {name: "not measured" if ending is None else ending.reason for name, ending in endings.items()}
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if reason)


def _rank(option: Option, objective: Objective) -> tuple[bool, float, bool, int, str]:
    """Shown first, then by the objective; of equal ones whom nobody dominates, with the fewest steps."""
    mean = option.estimates[str(objective.quantity)].mean
    cost = math.inf if mean is None else objective.cost(mean)
    return not option.shown, cost, not option.undominated, len(option.chain.steps), option.chain.composition


def _nobody(complete: Sequence[Option], needs: Sequence[Need], lost: Mapping[str, str]) -> RequestError:
    """What is to be said where no chain meets the needs: the nearest, and by how much it misses."""
    if not complete:
        some = next(iter(lost.items()), None)
        why = "no chain was measured" if some is None else f"none of {len(lost)} chains has every value"
        return RequestError(why, at="--need" if needs else None, hint=some and f"{some[0]}: {some[1]}")
    nearest = min(complete, key=lambda option: (_miss(option, needs), option.chain.composition))
    held = {bound: nearest.estimates[str(bound.quantity)].mean or 0.0 for bound in needs}
    missed = [
        f"{bound.quantity} is {short(value)}, which misses {bound} by {short(-bound.margin(value))}"
        for bound, value in held.items()
        if bound.margin(value) < 0
    ]
    asked = " and ".join(map(str, needs))
    return RequestError(
        f"no chain meets {asked}, not even in the mean", at=f"nearest, {nearest.chain.composition}: {'; '.join(missed)}"
    )


def _miss(option: Option, needs: Sequence[Need]) -> float:
    """The largest miss, as a share of the criterion's range, or of the bound where that is open."""
    misses = [-bound.margin(option.estimates[str(bound.quantity)].mean or 0.0) / _width(bound) for bound in needs]
    return max(misses, default=0.0)


def _width(bound: Need) -> float:
    width = bound.quantity.scale.width
    return max(abs(bound.bound), 1.0) if width is None else width


def _costs(options: Sequence[Option], needs: Sequence[Need], objective: Objective) -> Array:
    """`[chains, needs + 1]`, less being better, the objective last."""
    signs = [(str(bound.quantity), 1.0 if bound.at_most else -1.0) for bound in needs]
    signs.append((str(objective.quantity), objective.cost(1.0)))
    return np.array([[sign * (o.estimates[name].mean or 0.0) for name, sign in signs] for o in options])
