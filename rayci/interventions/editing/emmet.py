"""EMMET: new values for the keys of a whole batch, met exactly (arXiv 2403.14236).

    for every layer l in order: R = (Z − current)/(layers left), W += R(KᵀC⁻¹K + δI)⁻¹(C⁻¹K)ᵀ

With one edit this is ROME's update. Settings are the authors' for Llama-2-7B (hparams/EMMET/llama2-7b.json of their
repository, which has none for Llama-3), their layer 5 and their δ (`damping`) included, with which the values of a
batch are met up to δ; 0 is the formula itself.

A batch has limits. Keys must be independent: more edits than the projection has inputs are refused; where keys are
mixtures of each other, as those of one subject in several edits can be, no ΔW meets different values, and they are
averaged by a damping of KᵀC⁻¹K that the receipt notes. And the more edits, the larger the update that meets them all,
until it breaks the model (50 in the testbed's 128 inputs do): then δ helps, with which this is MEMIT's least squares,
R Kᵀ(KKᵀ + δC)⁻¹. How K, Z and C are found: `rayci.interventions.editing.closed_form`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from rayci.context import Context
from rayci.errors import RequestError, caught
from rayci.intervention import Preset
from rayci.interventions.editing.closed_form import Layer, NotNegative
from rayci.interventions.editing.constrained_update import constrained, whiten
from rayci.interventions.editing.mass_editor import MassEditor
from rayci.model import modules
from rayci.subject import Subject


class Emmet(MassEditor):
    """Edits that are met exactly, at the least cost to the keys of ordinary text."""

    name: ClassVar[str] = "emmet"
    paper: ClassVar[str] = "arXiv 2403.14236 (2024)"
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {
            "layers": (0,),
            "lr": 0.1,
            "clamp": 1.0,
            "stop_loss": 1e-4,
            "passes": 30,
            "damping": 10.0,
            "storage": "float32",
        }
    }

    layers: Annotated[tuple[Layer, ...], Field(min_length=1)] = (5,)
    """Decoder blocks whose `mlp_out` weight is rewritten, ascending, counted from 0."""
    damping: NotNegative = 0.1
    """δ: added to the diagonal of KᵀC⁻¹K of several edits."""

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        yield from super().check(subject, context)
        if not any(caught(self.changes, subject)):
            yield from caught(self._refuse_many, subject, context.batch_size)

    def _refuse_many(self, subject: Subject, edits: int) -> None:
        projection = subject.paths.mlp_out
        inputs = min(modules.weight(modules.linear(subject.block(layer), projection)).shape[1] for layer in self.layers)
        if edits > inputs:
            raise RequestError(
                f"emmet: {edits} edits are more than the {inputs} inputs of {projection}, and not all can be met",
                allowed=f"batches of at most {inputs} edits",
                hint="memit, whose least squares take any number",
            )

    def update(
        self, statistic: Tensor, keys: Tensor, residual: Tensor, earlier: Tensor | None
    ) -> tuple[Tensor, tuple[str, ...]]:
        white, damping = whiten(statistic, keys)
        change, tie = constrained(white, keys, residual, self.damping)
        retries = [f"C singular, solved with damping {damping:g}"] if damping else []
        if tie:
            retries.append(f"keys are mixtures of each other (one subject in several edits?), damped with {tie:g}")
        return change, tuple(retries)
