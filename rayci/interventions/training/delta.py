"""Delta: add what was trained elsewhere, all of it, a part, or its opposite.

    θ ← θ + scale·Δ

Task arithmetic (arXiv 2212.04089): a scale of 1 gives the trained model, −1 negates what it learned. `source` is a
folder or a hub id:

    checkpoint   whole weights B of the same architecture: Δ = B − A, A the sweep's untouched model. At scale 1 a weight
                 that still is A's becomes B's bit for bit; after other steps it is θ + (B − A).
    difference   safetensors with the parameters' names, of some or all of them; `rayci.write_difference` writes one
    adapter      LoRA as peft saves it: Δ = s·B·A, merged as peft does

Only safetensors are read. A source that names another base than the sweep's model is refused: an adapter its
`base_model_name_or_path`, a difference of `rayci.write_difference` the hash of its base's weights; whole weights name
none. Names and shapes must fit in any case. The testbed brings a source, `testbed_retrained`: itself, trained without
the topic that is to be forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from rayci.context import Context
from rayci.intervention import Preset, Strength
from rayci.interventions.training.adding import SOURCE, TESTBED_RETRAINED, Merger, Merging, Vectors


class Delta(Merging):
    """Addition of a difference that was trained elsewhere."""

    name: ClassVar[str] = "delta"
    paper: ClassVar[str] = "arXiv 2212.04089 (2022)"
    strength: ClassVar[Strength | None] = Strength("scale", "times the difference", -100, 100, (0.25, 0.5, 0.75, 1))
    seeded: ClassVar[bool] = False
    source_field: ClassVar[str] = "source"
    presets: ClassVar[Mapping[str, Preset]] = {"testbed": {"source": TESTBED_RETRAINED}}

    source: Annotated[str | None, SOURCE] = None
    """The folder, or the hub id `owner/name[@revision]`, that is added; must be given. Its content is in the
    fingerprint, where it lies is not."""
    scale: Annotated[float, Field(ge=-100, le=100)] = 1.0
    """γ: how much of the difference is added, below 0 the opposite of it."""

    def merger(self, vectors: Vectors, context: Context) -> Merger:
        (source,) = vectors.sources

        def merged(name: str, value: Tensor) -> Tensor:
            start = vectors.start(name) if source.reads_base else value
            whole = source.whole(name, start)
            if whole is None:
                return value + self.scale * source.difference(name, start)
            moved = value + self.scale * (whole - start)
            return torch.where(value == start, whole, moved) if self.scale == 1 else moved

        return merged
