"""Claims about what quantisation brings back of what was unlearned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rayci.analysis.answering.ordering_rules.compared import Compared, Judged, less
from rayci.analysis.answering.ordering_rules.judgement import positive, similar
from rayci.analysis.composing.recovered import recovered
from rayci.analysis.scan.variant import method_of, never_knew
from rayci.analysis.statistics.piecewise import Array

NOTHING = 0.1
"""Share of what quantisation could bring back that counts as nothing."""
SURE = "sure"
"""A method that is to prevent it."""


def four_bits_recover(compared: Compared) -> Judged:
    """Rule 9: 4-bit quantisation recovers forgotten knowledge, 8-bit does not."""
    shares = _shares(compared)
    at_four, at_eight = ([share.units for share in shares if share.bits == bits] for bits in (4, 8))
    return Judged(
        [
            positive("share recovered by 4 bits", at_four),
            similar("share recovered by 8 bits", at_eight, NOTHING),
        ],
        {frozenset((share.unlearner, share.quantiser)): share.quantiser for share in shares if share.bits == 4},
    )


def sure_prevents(compared: Compared) -> Judged:
    """Rule 10: SURE prevents it: less is recovered by 4 bits than after the other unlearners."""
    shares = [share for share in _shares(compared) if share.bits == 4]
    kept = [
        less(share.units, sure.units)
        for sure in shares
        for share in shares
        if sure.guarded and not share.guarded and share.where == sure.where
    ]
    return Judged([positive("share recovered by 4 bits without SURE minus with it", kept)])


@dataclass(frozen=True)
class _Share:
    """What a quantiser brings back of what an unlearner took, of what it could."""

    where: tuple[str, str, str]
    """Model, criterion, quantiser."""
    unlearner: str
    bits: float
    units: Array

    @property
    def quantiser(self) -> str:
        return self.where[2]

    @property
    def guarded(self) -> bool:
        return method_of(self.unlearner) == SURE


def _shares(compared: Compared) -> list[_Share]:
    """Every recovered share that is known in all units: at so many bits, whose levels lie a scale apart.

    A model that never knew, which published tables list among the unlearners, has nothing to bring back.
    """
    frame = recovered(compared.table)
    frame = frame[(frame["strength_name"] == "bits") & frame["strength"].notna()]
    columns = [frame[name].tolist() for name in ("model", "criterion", "then", "unlearner", "strength")]
    units: dict[tuple[str, str, str, str, float], list[float]] = {}
    for *key, share in zip(*columns, frame["recovered"].astype(float), strict=True):
        units.setdefault(tuple(key), []).append(share)
    return [
        _Share((model, criterion, quantiser), unlearner, bits, np.array(shares))
        for (model, criterion, quantiser, unlearner, bits), shares in units.items()
        if np.isfinite(shares).all() and not never_knew(unlearner)
    ]
