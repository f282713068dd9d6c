"""Claims about which method goes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rayci.analysis.answering.ordering_rules.compared import Compared, Judged
from rayci.analysis.answering.ordering_rules.judgement import positive, rising
from rayci.analysis.scan.family import Family
from rayci.analysis.scan.variant import Variant
from rayci.analysis.statistics.piecewise import Array
from rayci.kinds import Kind

LEARNED = ("edit_success", "edit_generalization")
"""Criteria of what an edit is to achieve."""


def order_matters(compared: Compared) -> Judged:
    """Rule 2: pruning first beats editing first; GPTQ wants the edit first, AWQ the compression first."""
    parts, favours = [], {}
    for text, category, method, compressor_first in (
        ("pruning first over editing first", "pruners", None, True),
        ("editing first over GPTQ first", "quantisers", "gptq", False),
        ("AWQ first over editing first", "quantisers", "awq", True),
    ):
        gains = []
        for family, compressor, editor in compared.of_kinds(category, Kind.EDIT):
            if method in (None, compressor.method):
                first = (compressor, editor) if compressor_first else (editor, compressor)
                gains += [compared.gain(family, name, first, first[::-1]) for name in compared.named(LEARNED)]
                favours[frozenset(variant.label for variant in first)] = first[0].label
        parts.append(positive(text, gains))
    return Judged(parts, favours)


def unlearning_first(compared: Compared) -> Judged:
    """Rule 5: unlearning a compressed model is harder than compressing an unlearned one."""
    gains, favours = [], {}
    for family, unlearner, compressor in compared.of_kinds(Kind.UNLEARN, Kind.COMPRESS):
        first = (unlearner, compressor)
        gains += [compared.gain(family, name, first, first[::-1]) for name in compared.judging(Kind.UNLEARN)]
        favours[frozenset((unlearner.label, compressor.label))] = unlearner.label
    return Judged([positive("unlearning first over compressing first, on what is to be forgotten", gains)], favours)


def milder_first(compared: Compared) -> Judged:
    """Rule 11: the intervention that perturbs less goes first, the more so the more the single damages differ."""
    gains: list[Array] = []
    gaps: list[float] = []
    favours = {}
    for family, pruner, quantiser in compared.of_kinds("pruners", "quantisers"):
        harsher = 0.0
        for difference, gain in _milder(compared, family, pruner, quantiser):
            gaps += np.abs(difference).tolist()
            gains += [np.array([value]) for value in np.where(difference < 0, gain, -gain)]
            harsher += float(difference.sum())
        if harsher:
            favours[frozenset((pruner.label, quantiser.label))] = (pruner if harsher < 0 else quantiser).label
    parts = [
        positive("the milder first over the harsher first", gains),
        rising("growth of that with the difference of their damages (Spearman)", gaps, [float(g[0]) for g in gains]),
    ]
    return Judged(parts, favours)


def sparsity_first(compared: Compared) -> Judged:
    """Rule 12: sparsity before quantisation beats the reverse, and the joint error exceeds the sum."""
    gains, excess, favours = [], [], {}
    for family, pruner, quantiser in compared.of_kinds("pruners", "quantisers"):
        for name in compared.general():
            gains.append(compared.gain(family, name, (pruner, quantiser), (quantiser, pruner)))
            good = compared.goodness(family, name, [(pruner, quantiser), (pruner,), (quantiser,), ()])
            with np.errstate(invalid="ignore"):
                excess.append(good[:, 1] + good[:, 2] - good[:, 3] - good[:, 0])
        favours[frozenset((pruner.label, quantiser.label))] = pruner.label
    parts = [
        positive("sparsity first over quantisation first", gains),
        positive("joint damage above the sum of the single ones", excess),
    ]
    return Judged(parts, favours)


def _milder(compared: Compared, family: Family, pruner: Variant, quantiser: Variant) -> Iterator[tuple[Array, Array]]:
    """For each criterion, at every γ: pruner's damage minus quantiser's, and what the pruner going first gains.

    Where both damage alike, neither is milder.
    """
    for name in compared.general():
        orders: Sequence[tuple[Variant, ...]] = [(pruner, quantiser), (quantiser, pruner), (pruner,), (quantiser,)]
        points = [compared.goodness(family, name, orders, where) for where in compared.points(family)]
        means = np.array([units.mean(axis=0) for units in points if len(units)])
        means = means[np.isfinite(means).all(axis=1)] if len(means) else np.empty((0, 4))
        means = means[means[:, 2] != means[:, 3]]
        yield means[:, 3] - means[:, 2], means[:, 0] - means[:, 1]
