"""The answer in a sentence or two, for a reader in a hurry; every word of it is made from the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rayci.analysis.answering.aims import goals
from rayci.analysis.answering.comparisons import Comparison
from rayci.analysis.statistics.verdicts import DOES_NOT_MATTER, MATTERS, UNDECIDED
from rayci.analysis.text.tables import short

_VERBS = {"editors": "edit", "pruners": "prune", "quantisers": "quantise", "compressors": "compress"}
_VERBS |= {"unlearners": "unlearn", "trainers": "train"}
_MOST_NAMED = 4
"""Sets of methods that a sentence names; how many more there are stands behind them."""
LEAST_COST = 0.005
"""Share of a criterion's range below which a loss of utility is not worth a word."""

Group = tuple[Comparison, ...]
"""All criteria of one set of methods at one place."""


def groups(compared: Sequence[Comparison]) -> list[Group]:
    """Comparisons by their methods, in the order in which they come."""
    by_name: dict[str, list[Comparison]] = {}
    for comparison in compared:
        by_name.setdefault(comparison.name, []).append(comparison)
    return [tuple(group) for group in by_name.values()]


def sentences(compared: Sequence[Comparison], where: str) -> list[str]:
    """For which methods the order matters and which is better, for which it does not, and for which nobody knows."""
    sets = groups(compared)
    if not sets:
        return []
    mattering = sorted((group for group in sets if _mattering(group)), key=_size, reverse=True)
    equal = [group for group in sets if all(row.verdict == DOES_NOT_MATTER for row in group)]
    rest = [group for group in sets if group not in mattering and group not in equal]
    if not mattering:
        said = [f"Order is shown to matter for none of {_counted(sets)}{where}."]
        return [*said, *_largest(rest), *_others(equal, rest)]
    said = [f"Order matters for {len(mattering)} of {_counted(sets)}{where}:"]
    said += [f"{group[0].name}: {_advice(group, _mattering(group))}." for group in mattering[:_MOST_NAMED]]
    if len(mattering) > _MOST_NAMED:
        said.append(f"and {len(mattering) - _MOST_NAMED} more, in the table.")
    return [*said, *_others(equal, rest)]


def _others(equal: Sequence[Group], rest: Sequence[Group]) -> Iterator[str]:
    if equal:
        yield f"It is shown not to matter for {_named(equal)}."
    lost = [group for group in rest if any(row.verdict == UNDECIDED for row in group)]
    if lost:
        yield f"Points are missing that could tell for {_named(lost)}."
    unclear = [group for group in rest if group not in lost]
    if unclear:
        few = all(row.p is None for group in unclear for row in group)
        why = ": it takes three edit batches or seeds to tell" if few else ""
        yield f"No difference is shown for {_named(unclear)}{why}."


def _largest(sets: Sequence[Group]) -> Iterator[str]:
    """Where nothing is shown, the set of methods with the largest difference seen."""
    differing = [group for group in sets if _ranked(group)]
    if differing:
        group = max(differing, key=lambda group: _ranked(group)[0].effect)
        yield f"The largest difference seen: {group[0].name}, {_advice(group, _ranked(group))}."


def _mattering(group: Group) -> list[Comparison]:
    return [row for row in _ranked(group) if row.verdict == MATTERS]


def _ranked(group: Group) -> list[Comparison]:
    """Criteria with one better order: those that a method aims at first, then by size."""
    aims = _goals(group)
    rows = [row for row in group if row.best_order]
    return sorted(rows, key=lambda row: (row.criterion not in aims, -row.effect))


def _goals(group: Group) -> list[str]:
    return goals([row.criterion for row in group], group[0].kinds)


def _size(group: Group) -> float:
    return max(row.effect for row in _mattering(group))


def _advice(group: Group, ranked: Sequence[Comparison]) -> str:
    """`prune before you edit (edit_success 0.93, else 0.82), which costs …; but …`, by the first of `ranked`."""
    first, *further = ranked
    alike = [row for row in further if row.best_order == first.best_order and row.criterion != first.utility]
    same = [row for row in alike if row.verdict == MATTERS]
    values = "; ".join(_values(row) for row in (first, *same[:1]))
    said = f"{_order(first)} ({values}){_cost(first)}"
    priced = first.utility if _cost(first) else None
    for row in (row for row in group if row.best_order not in (None, first.best_order) and row.criterion != priced):
        if row.verdict == MATTERS or (row.criterion in _goals(group) and row.verdict != DOES_NOT_MATTER):
            doubt = "" if row.verdict == MATTERS else "; not shown"
            said += f"; but {row.best_order} for {row.criterion} ({short(row.best)}, else {short(row.worst)}{doubt})"
    return said


def _order(row: Comparison) -> str:
    verbs = [_VERBS.get(category) for category in row.categories]
    order = (row.best_order or "").split(" > ")
    if len(order) == 2 and None not in verbs and len(set(verbs)) == 2:
        first, then = verbs if order[0] == row.methods[0] else reversed(verbs)
        return f"{first} before you {then}"
    if len(order) == 2:
        return f"{row.best_order} is better"
    return f"{row.best_order} is best, {row.worst_order or 'several orders'} worst"


def _values(row: Comparison) -> str:
    return f"{row.criterion} {short(row.best)}, else {short(row.worst)}"


def _cost(row: Comparison) -> str:
    if row.cost is None or row.utility is None:
        return ""
    other = "" if row.other_cost is None or len(row.methods) > 2 else f" ({short(row.other_cost)} the other way)"
    return f", which costs {short(row.cost)} of {row.utility}{other}" if row.cost >= LEAST_COST else ""


def _named(sets: Sequence[Group]) -> str:
    names = [group[0].name for group in sets[:_MOST_NAMED]]
    more = f" and {len(sets) - _MOST_NAMED} more" if len(sets) > _MOST_NAMED else ""
    return ", ".join(names) + more


def _counted(sets: Sequence[Group]) -> str:
    noun = {2: "pair", 3: "triple", 4: "chain of four"}[len(sets[0][0].methods)]
    return f"{len(sets)} {noun if len(sets) == 1 else noun.replace('chain', 'chains') if ' ' in noun else noun + 's'}"
