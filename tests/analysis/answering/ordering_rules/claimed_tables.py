"""Tables of which each of the fourteen claims is true, false, or neither, by construction.

Every builder takes effects, one for each comparison and in turn: all positive where the claim is to hold, all negative
where it is to fail, of both signs where nothing can be told.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from rayci.table import Row
from tests.analysis.synthetic_table import row, step

Effects = Iterator[float]
LEARNED = ("edit_success", "edit_generalization")
EDITORS, PRUNERS, QUANTISERS, UNLEARNERS = ("ft", "memit"), ("wanda@0.5",), ("gptq@4", "awq@4"), ("rmu", "gd")

EFFECTS = {
    "yes": (0.10, 0.12, 0.14),
    "no": (-0.10, -0.12, -0.14),
    "undecided": (0.12, -0.12),
}


def effects(answer: str) -> Effects:
    return itertools.cycle(EFFECTS[answer])


def both(first: str, second: str, criterion: str, forth: float, back: float) -> list[Row]:
    """`first > second` has the value `forth`, the reverse `back`."""
    return [row(f"{first} > {second}", criterion, forth), row(f"{second} > {first}", criterion, back)]


def edits_fall(effect: Effects) -> list[Row]:
    rows = []
    for name, order in itertools.product(LEARNED, ("ft > wanda@{}", "wanda@{} > ft")):
        slope = next(effect)
        rows += [row(order.format(gamma), name, 0.5 - slope * gamma) for gamma in (0.2, 0.4, 0.6)]
    return rows


def order_matters(effect: Effects) -> list[Row]:
    firsts = [("wanda@0.5", True), ("gptq@4", False), ("awq@4", True)]
    rows = []
    for (compressor, first), editor, name in itertools.product(firsts, EDITORS, LEARNED):
        order = (compressor, editor) if first else (editor, compressor)
        rows += both(*order, name, 0.5 + next(effect), 0.5)
    return rows


def rivals(winner: str, loser: str, partners: Sequence[str], criteria: Sequence[str]) -> Callable[[Effects], list[Row]]:
    """The loser's better order is worse than the winner's by the effect, and its order matters by as much."""

    def build(effect: Effects) -> list[Row]:
        rows = []
        for partner, name in itertools.product(partners, criteria):
            lost = next(effect)
            sign = -1 if name == "wmdp" else 1
            own, other = (0.0, max(lost, 0.0)), (max(-lost, 0.0), 0.0)
            for method, behind in ((winner, own[0] + other[0]), (loser, own[1] + other[1])):
                rows += both(method, partner, name, 0.5 - sign * behind, 0.5 - sign * 2 * behind)
        return rows

    return build


def kinds_differ(effect: Effects) -> list[Row]:
    """AWQ and MEMIT composed together come from both contests: a quantiser's and an editor's share of the damage."""
    rows = []
    for name in LEARNED:
        lost = next(effect)
        share = {"awq@4": 0.0, "gptq@4": abs(lost), "ft": max(lost, 0.0), "memit": max(-lost, 0.0)}
        for quantiser, editor in itertools.product(QUANTISERS, EDITORS):
            behind = share[quantiser] + share[editor]
            rows += both(editor, quantiser, name, 0.9 - behind, 0.9 - 2 * behind)
    return rows


def utility_hides(effect: Effects) -> list[Row]:
    rows = []
    for partner, name in itertools.product(("wanda@0.5", "rtn@4"), LEARNED):
        apart = max(next(effect), 0.0)
        for editor, value in (("ft", 0.5 + apart), ("memit", 0.5)):
            rows += both(editor, partner, name, value, value)
    for partner, editor in itertools.product(("wanda@0.5", "rtn@4"), EDITORS):
        rows += both(editor, partner, "mmlu", 0.6, 0.6)
    return rows


def unlearning_first(effect: Effects) -> list[Row]:
    pairs = itertools.product(UNLEARNERS, ("wanda@0.5", "rtn@4"))
    return [entry for pair in pairs for entry in both(*pair, "wmdp", 0.4, 0.4 + next(effect))]


def gd_sensitive(effect: Effects) -> list[Row]:
    rows = []
    for partner, name in itertools.product(("wanda@0.5", "rtn@4"), ("wmdp", "mmlu")):
        more, sign = next(effect), 1 if name == "wmdp" else -1
        rows += both("gd", partner, name, 0.4, 0.4 + sign * max(more, 0.0))
        rows += both("rmu", partner, name, 0.4, 0.4 + sign * max(-more, 0.0))
    return rows


def rmu_composes(effect: Effects) -> list[Row]:
    """Negative effects: GA composes as well as RMU; a single editor for both signs, which is no case enough."""
    first, second = next(effect), next(effect)
    editors = EDITORS if first * second > 0 else EDITORS[:1]
    rows = [row(editor, "edit_success", 0.9) for editor in editors]
    rows += [row(name, "wmdp", 0.3) for name in ("rmu", "ga")] + [row(n, "mmlu", 0.6) for n in (*editors, "rmu", "ga")]
    for editor, unlearner in itertools.product(editors, ("rmu", "ga")):
        ruined = unlearner == "ga" and first > 0
        rows += both(editor, unlearner, "edit_success", 0.2 if ruined else 0.88, 0.1)
        rows += both(editor, unlearner, "wmdp", 0.32, 0.5) + both(editor, unlearner, "mmlu", 0.58, 0.58)
    return rows


def recovering(at_eight: bool) -> Callable[[Effects], list[Row]]:
    """The share that 4 bits bring back is 5 × the effect; with SURE none is, or 8 bits bring back none."""

    def build(effect: Effects) -> list[Row]:
        bits = (4, 8) if at_eight else (4,)
        rows = [row(f"rtn@{b}", name, 0.9) for b in bits for name in ("wmdp", "hazard")]
        for unlearner, name in itertools.product(("gd", "rmu", *(() if at_eight else ("sure",))), ("wmdp", "hazard")):
            share = 0.0 if unlearner == "sure" else 5 * next(effect)
            rows += [row(unlearner, name, 0.3)]
            rows += [row(f"{unlearner} > rtn@{b}", name, 0.3 + 0.6 * (share if b == 4 else 0.0)) for b in bits]
        return rows

    return build


def milder_first(effect: Effects) -> list[Row]:
    """Wanda damages more the sparser it is, RTN by .1: milder first gains ten times the effect × the difference."""
    rows = [row("", "mmlu", 0.9), row("rtn@4", "mmlu", 0.8)]
    for gamma in (0.2, 0.25, 0.3, 0.35, 0.4, 0.45):
        rows += [row(f"wanda@{gamma:g}", "mmlu", 0.9 - gamma)]
        rows += both("rtn@4", f"wanda@{gamma:g}", "mmlu", 0.3 + 10 * next(effect) * (gamma - 0.1) / 5, 0.3)
    return rows


def sparsity_first(effect: Effects) -> list[Row]:
    rows = [row("", "mmlu", 0.9)] + [row(q, "mmlu", 0.8) for q in ("rtn@4", "awq@4")]
    for pruner in ("wanda@0.5", "sparsegpt@0.5"):
        rows += [row(pruner, "mmlu", 0.8)]
        for quantiser in ("rtn@4", "awq@4"):
            gain = next(effect)
            rows += both(pruner, quantiser, "mmlu", 0.7 - abs(gain), 0.7 - abs(gain) - gain)
    return rows


def batches_matter(effect: Effects) -> list[Row]:
    rows = []
    for compressor, name in itertools.product(("wanda@0.5", "rtn@4"), LEARNED):
        worse = next(effect)
        for size, loss in ((10, 0.2), (100, 0.2 + worse)):
            ft = step("ft", {"edits": size})
            rows += [row([ft], name, 0.9, n=size), row([ft, step(compressor)], name, 0.9 - loss, n=size)]
            rows += [row([step(compressor), ft], name, 0.5, n=size)]
    return list({(r.stage_fingerprint, r.criterion): r for r in rows}.values())


def lora_survives(effect: Effects) -> list[Row]:
    rows = []
    for quantiser, name in itertools.product(("rtn@4", "awq@4"), LEARNED):
        worse = next(effect)
        for editor, loss in (("lora", 0.2), ("ft", 0.2 + worse)):
            rows += [row(editor, name, 0.9), *both(editor, quantiser, name, 0.9 - loss, 0.5)]
    worse = next(effect)
    for form, back in (("lora", 0.2), ("full", 0.2 + worse)):
        gd, rtn = step("gd", {"parametrisation": form}), step("rtn@4")
        rows += [row([gd], "wmdp", 0.3), row([gd, rtn], "wmdp", 0.3 + back), row([rtn, gd], "wmdp", 0.5)]
    return list({(r.stage_fingerprint, r.criterion): r for r in rows}.values())


PARTNERS = ("wanda@0.5", "rtn@4", "ft")
CLAIMS: dict[int, Callable[[Effects], list[Row]]] = {
    1: edits_fall,
    2: order_matters,
    3: kinds_differ,
    4: utility_hides,
    5: unlearning_first,
    6: gd_sensitive,
    7: rmu_composes,
    8: rivals("rmu", "gd", PARTNERS, ("wmdp", "mmlu")),
    9: recovering(at_eight=True),
    10: recovering(at_eight=False),
    11: milder_first,
    12: sparsity_first,
    13: batches_matter,
    14: lora_survives,
}
