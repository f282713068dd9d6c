"""A recommendation as text: what to build and how sure that is, then a line for every chain that matters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rayci.analysis.answering.certainty import DRAWS
from rayci.analysis.answering.needs import Estimate
from rayci.analysis.answering.recommendation import Option, Recommendation
from rayci.analysis.text.tables import Pivot, ranged, short

_NOISE = 0.02
"""Below this the difference of two probabilities may be that of their draws."""
_ORDERS = 3
"""Other orders that are told in words."""
_MOST = 10
"""Chains of a group that a table for people shows."""


_OVER = {"replicates": "edit batches", "seeds": "seeds"}


def sentences(told: Recommendation) -> list[str]:
    """What to build, whether that is shown, how sure it is that nothing measured is better, what other orders cost."""
    wanted, count, of = str(told.objective.quantity), len(told.ranked), f"of {len(told.candidates)} measured"
    degree, asked = "lowest" if told.objective.minimize else "highest", " and ".join(map(str, told.needs))
    among = f"the {degree} of the {count} chains that meet {asked}, {of}" if asked else f"the {degree} {of}"
    if asked and count == 1:
        among = f"the only chain that meets {asked}, {of}"
    return [
        f"{told.first.chain.composition}: {wanted} {short(told.first.estimates[wanted].mean)}, {among}.",
        *([_shown(told)] if told.needs else []),
        *_chance(told),
        *(_instead(told, option) for option in told.other_orders[:_ORDERS]),
    ]


def _chance(told: Recommendation) -> Iterable[str]:
    first = told.first
    if first.chance_best is None:
        yield "How sure that is cannot be told: its values have no interval."
        return
    over = f"{told.units} {_OVER[told.interval_of]}" if told.interval_of else "the items of one measurement"
    meets = f"that it meets the needs: {first.chance_meets:.2f}; " if told.needs else ""
    best = "that it is the best that does" if told.needs else "that it is the best"
    yield f"Probability {meets}{best}: {first.chance_best:.2f} ({DRAWS} draws over {over})."
    rival = max(told.candidates, key=lambda option: option.chance_best or 0.0)
    if (rival.chance_best or 0.0) > first.chance_best + _NOISE:
        only = f", but meets the needs with {rival.chance_meets:.2f} only" if told.needs else ""
        yield f"{rival.chain.composition} is the best with probability {rival.chance_best:.2f}{only}."


def _shown(told: Recommendation) -> str:
    if not told.first.shown:
        return "That is not shown: means meet the needs, the ends of their 95 % intervals do not."
    in_mean = len(told.options) - len(told.ranked)
    more = f" {in_mean} more {'do' if in_mean > 1 else 'does'} in the mean only." if in_mean else ""
    return f"The whole 95 % intervals meet the needs.{more}"


def _instead(told: Recommendation, other: Option) -> str:
    """What another order of the same methods would have cost."""
    changes = []
    for name, first in told.first.estimates.items():
        mean, instead = first.mean or 0.0, other.estimates[name].mean or 0.0
        changes.append(f"{name} {short(instead)} rather than {short(mean)}" if instead != mean else f"the same {name}")
    missed = [str(need) for need in told.needs if not need.met(other.estimates[str(need.quantity)])]
    misses = f"; it misses {' and '.join(missed)}" if missed else ""
    return f"In the order {other.chain.composition}: {', '.join(changes)}{misses}."


def pivot(told: Recommendation, *, intervals: bool = True) -> Pivot:
    """Groups of chains: those that meet the needs, shown or in the mean, other orders of the first, the Pareto set."""
    names = [str(quantity) for quantity in told.quantities]
    header = ("chain", *names, *(["P(meets)"] if told.needs else []), "P(best)")
    blank = ("",) * (len(header) - 1)
    rows: list[tuple[str, ...]] = []
    for title, options in _groups(told):
        rows.append((title, *blank))
        rows += [_line(option, names, told, intervals) for option in options[:_MOST]]
        if len(options) > _MOST:
            rows.append((f"  and {len(options) - _MOST} more: --format csv", *blank))
    return Pivot(header, tuple(rows), tuple(_notes(told, intervals)))


def _line(option: Option, names: Sequence[str], told: Recommendation, intervals: bool) -> tuple[str, ...]:
    chances = [*([option.chance_meets] if told.needs else []), option.chance_best]
    estimates = [option.estimates[name] for name in names]
    values = [_cell(estimate) if intervals else short(estimate.mean) for estimate in estimates]
    return (f"  {option.chain.composition}", *values, *map(short, chances))


def _groups(told: Recommendation) -> Iterable[tuple[str, Sequence[Option]]]:
    groups = (
        ("Meet the needs" if told.needs else "All", [option for option in told.options if option.shown]),
        ("In the mean only", [option for option in told.options if not option.shown]),
        ("Its other orders", told.other_orders),
        ("Pareto set", told.pareto),
    )
    return ((title, options) for title, options in groups if options)


def _notes(told: Recommendation, intervals: bool) -> Iterable[str]:
    over = "over edit batches or seeds, of one measurement over its items"
    yield f"[ ]: 95 % interval {over}." if intervals else f"95 % intervals ({over}): in a wider terminal, --format csv."
    yield "Pareto set: no other chain is as good in all that is needed and wanted, and better in one."
    yield "P: probability to meet the needs, and to be the best that does, by draws that are paired over common units."
    for between in told.between[:_MOST]:
        values = ", ".join(f"{name} {short(value)}" for name, value in between.values.items())
        yield f"Not measured, but better by straight lines between what was: {between.composition} ({values})."
    lost: dict[str, list[str]] = {}
    for chain, why in told.lost.items():
        lost.setdefault(why, []).append(chain)
    for why, chains in lost.items():
        yield f"Not judged ({why}): {', '.join(chains)}"


def _cell(estimate: Estimate) -> str:
    exact = estimate.low == estimate.high
    return short(estimate.mean) if exact else ranged(estimate.mean, estimate.low, estimate.high)


def records(told: Recommendation) -> list[dict[str, Any]]:
    """Every chain that was judged: which needs it meets, which groups it is of, and its values."""
    rank = {option.chain.composition: place for place, option in enumerate(told.options, start=1)}
    pareto, others = ({option.chain.composition for option in group} for group in (told.pareto, told.other_orders))
    rows = []
    for option in [*told.options, *(option for option in told.candidates if not option.met)]:
        name = option.chain.composition
        row: dict[str, Any] = {"chain": name, "rank": rank.get(name)}
        row |= {"meets": "shown" if option.shown else "in the mean" if option.met else "no"}
        row |= {"pareto": name in pareto, "other_order": name in others, "stage_fingerprint": option.chain.stage}
        row |= {"probability_meets": option.chance_meets, "probability_best": option.chance_best}
        for quantity, held in option.estimates.items():
            row |= {quantity: held.mean, f"{quantity}_low": held.low, f"{quantity}_high": held.high}
        rows.append(row)
    return rows


def document(told: Recommendation, source: str | None) -> dict[str, Any]:
    """The recommendation as one JSON value."""
    return {
        "build": told.first.chain.composition,
        "command": told.command(source),
        "needs": [str(need) for need in told.needs],
        "objective": {"criterion": str(told.objective.quantity), "minimize": told.objective.minimize},
        "probability_meets": told.first.chance_meets,
        "probability_best": told.first.chance_best,
        "draws": DRAWS,
        "n": told.units,
        "between": [{"chain": held.composition, "measured": False, **held.values} for held in told.between],
        "lost": dict(told.lost),
        "chains": records(told),
    }
