"""DARE: drop most of each difference at random, rescale what is left, and add the sources.

    m ~ Bernoulli(p),   δ̂_t = (1 − m_t)·δ_t / (1 − p),   θ ← θ + λ·Σ_t w_t·δ̂_t

arXiv 2311.03099, equations 2 and 3, with task arithmetic over the sources (its section 3.3). p = 0.9 is the paper's for
fine-tuning that moves each weight little; after long training far less can be dropped. Weights are 1, those that sum
to 1 average. Draws are seeded by source and parameter alone, never by p: what a larger p keeps a smaller one keeps too,
and neither the order of sources nor that of files matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from rayci.context import Context
from rayci.intervention import Preset, Strength
from rayci.interventions.training.adding import SOURCE, TESTBED_RETRAINED, Merger, Vectors
from rayci.interventions.training.several import MergingSeveral


def drop_and_rescale(vector: Tensor, drawn: Tensor, share: float) -> Tensor:
    """Entries whose draw, uniform in [0, 1), is below `share` become 0, the others 1/(1 − share) of themselves."""
    return torch.where(drawn >= share, vector / (1 - share), 0.0)


class Dare(MergingSeveral):
    """Addition of randomly thinned differences."""

    name: ClassVar[str] = "dare"
    paper: ClassVar[str] = "arXiv 2311.03099 (2023)"
    strength: ClassVar[Strength | None] = Strength(
        "drop", "share of entries dropped", 0, 0.999, (0.1, 0.3, 0.5, 0.7, 0.9)
    )
    presets: ClassVar[Mapping[str, Preset]] = {"testbed": {"sources": (TESTBED_RETRAINED,), "drop": 0.1}}

    drop: Annotated[float, Field(ge=0, le=0.999)] = 0.9
    """γ: p, the probability that an entry is dropped."""

    def merger(self, vectors: Vectors, context: Context) -> Merger:
        digests = [SOURCE.content(source) for source in self.sources]

        def merged(name: str, value: Tensor) -> Tensor:
            total = torch.zeros_like(value)
            for place, (digest, weight) in enumerate(zip(digests, self.shares, strict=True)):
                vector = vectors.difference(place, name)
                if vector is not None:
                    generator = context.generator(f"dare {digest} {name}")
                    drawn = torch.rand(value.shape, generator=generator).to(value.device)
                    total += weight * drop_and_rescale(vector, drawn, self.drop)
            return value + self.scale * total

        return merged
