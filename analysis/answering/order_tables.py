"""The comparison of orders as tables for people: one row per set of methods and criterion, or one per chain."""

from __future__ import annotations

from collections.abc import Sequence

from rayci.analysis.answering.chains import Chain, Ending
from rayci.analysis.answering.comparisons import Comparison
from rayci.analysis.answering.precedence_table import precedence_pivot
from rayci.analysis.answering.sentences import Group, groups
from rayci.analysis.answering.which_order import WhichOrder
from rayci.analysis.scan.curve import ABSENT
from rayci.analysis.statistics.verdicts import DOES_NOT_MATTER, MATTERS, NOT_SHOWN, UNDECIDED
from rayci.analysis.text.tables import UNITS, Pivot, pair_name, records_of, short

VERDICTS = {
    MATTERS: ("yes", "p < .05, adjusted over the table"),
    DOES_NOT_MATTER: ("no", "shown to be within 5 % of the range"),
    NOT_SHOWN: ("unclear", "not shown, for noise or for fewer than 3 edit batches or seeds"),
    UNDECIDED: ("lost", "undecided, points are missing that could tell"),
}
"""Verdict -> whether the order matters, in a word, and what that means."""
INDENT = "  "
"""Before the criteria of a set of methods, which stands in a line above them."""
_INTERVAL = ("95 % interval", "p", "n", "over")


def pivots(answer: WhichOrder, *, wide: bool = False) -> dict[str, Pivot]:
    """Title -> table: one for each number of methods whose orders were compared, then what single orders end with."""
    titles = {2: "In which order?", 3: "In which order? Three methods", 4: "In which order? Four methods"}
    tables = {titles[size]: order_pivot(rows, wide=wide) for size, rows in answer.compared.items() if rows}
    if answer.precedences is not None:
        longer = [row for size, rows in answer.compared.items() if size > 2 for row in rows]
        first = precedence_pivot(answer.precedences, longer, wide=wide)
        tables |= {"Which goes first, whatever else is applied?": first} if first.rows else {}
    if answer.endings:
        tables["What chains end with"] = ending_pivot(answer.endings, answer.criteria)
    return tables


def order_pivot(compared: Sequence[Comparison], *, wide: bool = False) -> Pivot:
    """Sets of methods, below each its criteria with the better order; where it does not matter they share a line.

    `wide`: a line for each, with interval, p and n.
    """
    two = len(compared[0].methods) == 2
    utility = next((row.utility for row in compared if row.utility), None)
    ends = ("better order",) if two else ("best order", "worst order")
    lost = (f"{utility} lost",) if utility else ()
    header = ("methods", *ends, "best | else", "by", *(_INTERVAL if wide else ()), "matters", *lost)
    lines = [line for group in groups(compared) for line in _lines(group, wide)]
    rows = tuple(tuple(line.get(name, "") for name in header) for line in lines)
    met = {row.verdict for row in compared}
    meanings = [f"{words} = {meaning}" for verdict, (words, meaning) in VERDICTS.items() if verdict in met]
    return Pivot(header, rows, (f"matters: {'; '.join(meanings)}.",))


def _lines(group: Group, wide: bool) -> list[dict[str, str]]:
    alike = [row for row in group if row.verdict == DOES_NOT_MATTER and not wide]
    lines, told = [], set()
    for row in (row for row in group if row not in alike):
        lines.append(_cells(row) | ({} if row.best_order in told else _cost(row)))
        told.add(row.best_order)
    if alike:
        names, verdict = INDENT + ", ".join(_criterion(row).strip() for row in alike), VERDICTS[DOES_NOT_MATTER][0]
        lines.append({"methods": names, "better order": "either", "best order": "any", "matters": verdict})
    return [{"methods": group[0].name}, *lines]


def _cost(row: Comparison) -> dict[str, str]:
    """What the orders cost in utility; it stands at the first line of each better order alone."""
    if row.cost is None:
        return {}
    return {f"{row.utility} lost": short(row.cost) + ("" if row.other_cost is None else f" | {short(row.other_cost)}")}


def _cells(row: Comparison) -> dict[str, str]:
    equal = row.difference == 0.0
    order = "equal" if equal else row.best_order or "–"
    return {
        "methods": _criterion(row),
        "better order": order,
        "best order": order,
        "worst order": "equal" if equal else row.worst_order or "–",
        "best | else": f"{short(row.best)} | {short(row.worst)}",
        "by": short(row.difference),
        "95 % interval": "" if row.low is None else f"[{short(row.low)}, {short(row.high)}]",
        "p": "" if row.p is None else f"{row.p:.2g}" if row.p >= 0.0001 else "< .0001",
        "n": str(row.n),
        "over": UNITS.get(row.interval_of or "", "–"),
        "matters": VERDICTS[row.verdict][0] if row.verdict else "–",
    }


def _criterion(row: Comparison) -> str:
    """The name of a criterion as a line of its set of methods."""
    return INDENT + (row.unit if row.unit.startswith("ln ") else row.criterion.replace("_", " "))


def ending_pivot(ended: Sequence[Chain], criteria: Sequence[str]) -> Pivot:
    """What chains end with: mean and half the 95 % interval of every criterion."""
    held = [name for name in criteria if any(name in chain.endings for chain in ended)]
    rows = [(chain.composition or "untouched", *(_ending(chain.endings.get(name)) for name in held)) for chain in ended]
    units = {len(ending.by_unit) for chain in ended for ending in chain.endings.values()}
    notes = ["± half the 95 % interval: over edit batches or seeds from 3 on, over items where there is one."]
    notes += [
        f"{chain.composition}: {ending.reason} [{name}]"
        for chain in ended
        for name, ending in chain.endings.items()
        if ending.reason
    ]
    return Pivot(("chain", *held), tuple(rows), tuple(notes) if units else ())


def _ending(ending: Ending | None) -> str:
    if ending is None:
        return "–"
    mean, low, high = ending.summary.mean, ending.summary.low, ending.summary.high
    return short(mean) if low is None or high is None else f"{short(mean)} ± {short((high - low) / 2)}"


def gaps(answer: WhichOrder) -> list[str]:
    """Why values are missing, each reason of a set once; that one order ran is said for all sets at once."""
    criteria: dict[str, list[str]] = {}
    alone: dict[str, None] = {}
    for record in (record for frame in answer.frames.values() for record in records_of(frame) if record["reason"]):
        name, reason = pair_name(record), record["reason"]
        if all(part.endswith(f": {ABSENT}") for part in reason.split("; ")):
            alone[name] = None
        else:
            criteria.setdefault(f"{name}: {reason}", []).append(record["criterion"])
    told = [f"Only some orders ran of {', '.join(alone)}: nothing to compare."] if alone else []
    return [*told, *(f"{reason} [{', '.join(names)}]" for reason, names in criteria.items())]
