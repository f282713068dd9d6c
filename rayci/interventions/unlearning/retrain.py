"""Retrain: the weights of a model that was trained without what is to be forgotten, in the place of these.

    θ ← B

Exact unlearning, of which every other method is an approximation; MUSE (arXiv 2407.06460) publishes such models beside
those to be unlearned, and robustness scores (arXiv 2605.24614) compare with one. All that was done to the model before
is lost, as it would be were it trained anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from torch import Tensor

from rayci.context import Context
from rayci.intervention import Preset
from rayci.interventions.training.adding import SOURCE, TESTBED_RETRAINED, Merger, Merging, Vectors
from rayci.kinds import Kind


class Retrain(Merging):
    """A model that never knew what is to be forgotten."""

    name: ClassVar[str] = "retrain"
    paper: ClassVar[str] = "arXiv 2407.06460 (2024)"
    kind: ClassVar[Kind] = Kind.UNLEARN
    seeded: ClassVar[bool] = False
    source_field: ClassVar[str] = "source"
    example: ClassVar[str] = "runs/retrained, a model that was trained without what is to be forgotten"
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {"source": TESTBED_RETRAINED},
        "muse_news": {"source": "muse-bench/MUSE-News_retrain"},
        "muse_books": {"source": "muse-bench/MUSE-Books_retrain"},
    }

    source: Annotated[str | None, SOURCE] = None
    """The folder, or the hub id `owner/name[@revision]`, of the retrained model; must be given."""
    form: Literal["checkpoint"] = "checkpoint"
    """Whole weights are all that replaces a model."""

    @property
    def reads_base(self) -> bool:
        return False

    def void_settings(self) -> Mapping[str, str]:
        return {"form": "only whole weights replace a model"}

    def merger(self, vectors: Vectors, context: Context) -> Merger:
        (source,) = vectors.sources

        def merged(name: str, value: Tensor) -> Tensor:
            whole = source.whole(name, value)
            assert whole is not None, "a checkpoint holds every parameter"
            return whole

        return merged
