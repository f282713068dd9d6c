"""TIES: merge several differences without letting them cancel each other.

    trim    τ̂_t = τ_t where |τ_t| is among its `density` largest, else 0         over all weights of a source together
    elect   σ = sign(Σ_t w_t·τ̂_t)                                                for each weight
    merge   τ = Σ_{t: sign(τ̂_t) = σ} w_t·τ̂_t / Σ_{t: sign(τ̂_t) = σ} w_t           mean of those that agree
    θ ← θ + λ·τ

arXiv 2306.01708, section 4, whose values are the defaults: 20 % kept, λ = 1, equal weights. The smallest magnitude that
is kept is found exactly, in two passes over each source that count bits, so no vector is in memory as a whole.
Deviations: the authors' code compares with a threshold one rank below and so keeps one entry too many (ties in
magnitude are kept by both), and gives entries whose mass cancels exactly the sign of the majority, where the formula
leaves 0. An adapter's vector is that of the matrices that it adapts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from rayci.context import Context
from rayci.intervention import Preset, Strength
from rayci.interventions.training.adding import TESTBED_RETRAINED, Merger, Vectors
from rayci.interventions.training.several import MergingSeveral

_LOW_BITS = 16
_HALVES = 1 << _LOW_BITS


def magnitude_of_rank(pieces: Callable[[], Iterable[Tensor]], rank: int) -> float:
    """The `rank`-th largest magnitude, from 1 on, of fp32 values that come in pieces, twice.

    The bits of magnitudes are whole numbers in the same order: the first pass counts their upper halves, the second
    the lower halves of those in question.
    """
    upper, rank = _bin_of_rank(_counts(bits >> _LOW_BITS for bits in _bits(pieces())), rank)
    among = (bits[bits >> _LOW_BITS == upper] for bits in _bits(pieces()))
    lower, _ = _bin_of_rank(_counts(bits & (_HALVES - 1) for bits in among), rank)
    return float(torch.tensor(upper << _LOW_BITS | lower, dtype=torch.int32).view(torch.float32))


def merge_agreeing(trimmed: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Weighted mean of the entries whose sign is that of the weighted sum; 0 where none has it."""
    total = sum((weight * value for weight, value in zip(weights, trimmed, strict=True)), torch.zeros_like(trimmed[0]))
    elected = total.sign()
    mass, share = torch.zeros_like(total), torch.zeros_like(total)
    for weight, value in zip(weights, trimmed, strict=True):
        agrees = (value.sign() == elected) & (elected != 0)
        mass += torch.where(agrees, weight * value, 0.0)
        share += weight * agrees
    return torch.where(share > 0, mass / share, 0.0)


class Ties(MergingSeveral):
    """Merging of trimmed differences whose signs agree."""

    name: ClassVar[str] = "ties"
    paper: ClassVar[str] = "arXiv 2306.01708 (2023)"
    strength: ClassVar[Strength | None] = Strength("density", "share of entries kept", 0, 1, (0.1, 0.2, 0.3, 0.5, 1))
    seeded: ClassVar[bool] = False
    passes: ClassVar[int] = 3
    presets: ClassVar[Mapping[str, Preset]] = {"testbed": {"sources": (TESTBED_RETRAINED,), "density": 0.5}}

    density: Annotated[float, Field(gt=0, le=1)] = 0.2
    """γ: share of each source's entries, the largest in magnitude, that is kept; at least one entry is."""

    def merger(self, vectors: Vectors, context: Context) -> Merger:
        least = [self._least(vectors, place) for place in range(len(vectors.sources))]

        def merged(name: str, value: Tensor) -> Tensor:
            found = [vectors.difference(place, name) for place in range(len(least))]
            trimmed = [
                (torch.where(vector.abs() >= smallest, vector, 0.0), weight)
                for vector, smallest, weight in zip(found, least, self.shares, strict=True)
                if vector is not None
            ]
            return value + self.scale * merge_agreeing(*zip(*trimmed, strict=True))

        return merged

    def _least(self, vectors: Vectors, place: int) -> float:
        """The smallest magnitude of a source that is kept."""
        names = vectors.sources[place].names
        count = sum(vectors.parameters[name].numel() for name in names)

        def pieces() -> Iterable[Tensor]:
            found = (vectors.difference(place, name) for name in names)
            return (vector for vector in found if vector is not None)

        return magnitude_of_rank(pieces, max(1, int(count * self.density)))


def _bits(pieces: Iterable[Tensor]) -> Iterable[Tensor]:
    """Bits of the magnitudes, int32 `[entries]`."""
    return (piece.abs().flatten().view(torch.int32) for piece in pieces)


def _counts(numbers: Iterable[Tensor]) -> Tensor:
    """How often each whole number below 2^16 occurs, int64 on the CPU."""
    counts = torch.zeros(_HALVES, dtype=torch.int64)
    for number in numbers:
        counts += torch.bincount(number, minlength=_HALVES).cpu()
    return counts


def _bin_of_rank(counts: Tensor, rank: int) -> tuple[int, int]:
    """The number at a rank, largest first, and the rank among those equal to it."""
    above = counts.flip(0).cumsum(0)
    place = int(torch.searchsorted(above, rank))
    return len(counts) - 1 - place, rank - (int(above[place - 1]) if place else 0)
