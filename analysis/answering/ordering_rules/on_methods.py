"""Claims about which method of its kind composes better."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rayci.analysis.answering.ordering_rules.compared import Compared, Judged
from rayci.analysis.answering.ordering_rules.judgement import Part, differing, every, positive, similar
from rayci.analysis.answering.ordering_rules.on_order import LEARNED
from rayci.analysis.composing.win_counts import METRICS
from rayci.analysis.scan.family import Family
from rayci.analysis.scan.variant import Variant
from rayci.analysis.statistics.verdicts import MARGIN
from rayci.kinds import Kind

KEPT = 0.1
"""Share of a criterion's range by which a composition may stay behind a single that it still keeps the work of."""


def differs_within_a_kind(compared: Compared) -> Judged:
    """Rule 3: composability differs within a kind: AWQ against GPTQ; MEMIT is the most composable editor."""
    everything = compared.judging(Kind.EDIT, Kind.UNLEARN, None)
    quantisers = differing("AWQ over GPTQ", compared.rivals("awq", "gptq", everything), MARGIN)
    return Judged([quantisers, *_most_composable(compared, "memit", Kind.EDIT, compared.judging(Kind.EDIT))])


def gd_against_rmu(compared: Compared) -> Judged:
    """Rule 6: GD and RMU have similar order-free error, GD the higher order sensitivity."""
    criteria = compared.judging(Kind.UNLEARN, None)
    error, sensitivity = ([*compared.rivals("rmu", "gd", criteria, [metric])] for metric in METRICS)
    return Judged(
        [
            similar("order-free error of GD minus RMU's", error, MARGIN),
            positive("order sensitivity of GD minus RMU's", sensitivity),
        ]
    )


def rmu_with_every_editor(compared: Compared) -> Judged:
    """Rule 7: RMU composes with every editor, GA with none: one order keeps what both methods do, and utility."""
    kept: dict[str, list[bool]] = {"rmu": [], "ga": []}
    for family, unlearner, editor in compared.of_kinds(Kind.UNLEARN, Kind.EDIT):
        if unlearner.method in kept:
            kept[unlearner.method] += _composes(compared, family, unlearner, editor)
    return Judged(
        [
            every("share of editors that RMU composes with", kept["rmu"]),
            every("share of editors that GA does not compose with", [not holds for holds in kept["ga"]]),
        ]
    )


def rmu_over_all(compared: Compared) -> Judged:
    """Rule 8: over all pairs, RMU is the most composable unlearner."""
    return Judged(_most_composable(compared, "rmu", Kind.UNLEARN, compared.judging(Kind.EDIT, Kind.UNLEARN, None)))


def _most_composable(compared: Compared, method: str, kind: Kind, criteria: list[str]) -> list[Part]:
    """One part for each rival: its errors and sensitivities minus the method's."""
    rivals = {v.method for family in compared.pairs for v in family.pair if v.kind is kind and v.competes} - {method}
    return [
        positive(f"{method} over {rival}", compared.rivals(method, rival, criteria)) for rival in sorted(rivals)
    ] or [positive(f"{method} over others", [])]


def _composes(compared: Compared, family: Family, unlearner: Variant, editor: Variant) -> Iterator[bool]:
    """Whether an order stays near the editor's edits, near the unlearner's forgetting, and near the lesser utility.

    Nothing where one of the three cannot be told.
    """
    both, near, told = [(unlearner, editor), (editor, unlearner)], np.ones(2, dtype=bool), set()
    for aim, singles in ((Kind.EDIT, [editor]), (Kind.UNLEARN, [unlearner]), (None, [editor, unlearner])):
        for name in compared.named(LEARNED) if aim is Kind.EDIT else compared.judging(aim):
            units = compared.goodness(family, name, [*both, *((single,) for single in singles)])
            if len(units):
                means = units.mean(axis=0)
                near &= means[:2] >= means[2:].min() - KEPT
                told.add(aim)
    if len(told) == 3:
        yield bool(near.any())
