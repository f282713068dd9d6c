"""MEMIT: write many facts at once into a few MLP projections, in closed form (arXiv 2210.07229).

    for every layer l in order: R = (Z − current)/(layers left), A = (λC + KKᵀ)⁻¹K, W += R·Aᵀ

With `sequential` the keys K_p of the edits before weigh as much as those of the batch: (λC + K_pK_pᵀ + KKᵀ)⁻¹K, which
the code of arXiv 2410.02355 calls MEMIT_seq.

Settings as published for Llama-3-8B in arXiv 2407.06483, appendix B. How K, Z and C are found, and where that deviates
from the authors' code: `rayci.interventions.editing.closed_form`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from torch import Tensor

from rayci.intervention import Preset
from rayci.interventions.editing import memit_update
from rayci.interventions.editing.closed_form import Positive
from rayci.interventions.editing.mass_editor import MassEditor
from rayci.settings import LATER


class Memit(MassEditor):
    """Edits that weigh against the keys of ordinary text in least squares."""

    name: ClassVar[str] = "memit"
    paper: ClassVar[str] = "arXiv 2210.07229 (2022)"
    version: ClassVar[int] = 2
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {
            "layers": (0,),
            "lr": 0.1,
            "clamp": 1.0,
            "stop_loss": 1e-4,
            "passes": 30,
            "covariance_weight": 16.0,
            "storage": "float32",
        }
    }

    covariance_weight: Positive = 15000.0
    """λ: how much the keys of ordinary text weigh against those of the edits."""
    sequential: Annotated[bool, LATER] = False
    """Whether keys of edits that closed-form steps of the chain wrote before weigh too; nothing for a first batch."""

    def update(
        self, statistic: Tensor, keys: Tensor, residual: Tensor, earlier: Tensor | None
    ) -> tuple[Tensor, tuple[str, ...]]:
        weighing = earlier if self.sequential else None
        change, damping = memit_update.update(statistic, keys, residual, self.covariance_weight, weighing)
        return change, (f"singular, solved with damping {damping:g}",) if damping else ()
