"""AlphaEdit: MEMIT's edits, written where the keys of ordinary text have nothing (arXiv 2410.02355).

    for every layer l in order: R = (Z − current)/(layers left), ΔWᵀ = (P(KKᵀ + K_pK_pᵀ) + λI)⁻¹ P K Rᵀ, W += ΔW

P projects on the eigenvectors of C whose eigenvalue is below `null_threshold`: what W says of the other directions
stays. K_p are the keys of earlier edit batches: explicit state of the chain, in the authors' code a cache that outlives
a run. Settings as the authors' for Llama-3-8B (hparams/AlphaEdit/Llama3-8B.json of their repository). Deviations: the
system is solved in float64 in its small form (`alphaedit_update`); C, and so P, is that of the model that a step starts
from, where the authors keep the untouched model's over a whole run of edits (`statistics_of`), which also spares
building it anew for every batch. How K, Z and C are found: `rayci.interventions.editing.closed_form`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from rayci.effort import Effort
from rayci.errors import InterventionError
from rayci.intervention import Preset
from rayci.interventions.editing import alphaedit_update
from rayci.interventions.editing.closed_form import NotNegative, Positive
from rayci.interventions.editing.key_covariances import CovarianceText, TextStatistics
from rayci.interventions.editing.mass_editor import MassEditor
from rayci.workload import Workload

FORM = 1
"""Raised when U of the same C changes, or how it is kept."""


class AlphaEdit(MassEditor):
    """Edits in the null space of the keys of ordinary text."""

    name: ClassVar[str] = "alphaedit"
    paper: ClassVar[str] = "arXiv 2410.02355 (2024)"
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {
            "layers": (0,),
            "clamp": 1.0,
            "weight_decay": 1e-3,
            "stop_loss": 1e-4,
            "passes": 30,
            "null_threshold": 0.1,
            "ridge": 0.2,
            "storage": "float32",
        }
    }

    lr: Positive = 0.1
    """Learning rate of Adam for δ."""
    clamp: Positive = 0.75
    """Largest ‖δ‖, in multiples of ‖h₀‖."""
    weight_decay: NotNegative = 0.5
    """Weight of ‖δ‖/‖h₀‖² (as in the authors' code: only h₀ is squared)."""
    null_threshold: Positive = 2e-2
    """Eigenvalues of C below this span the null space, in which an edit may write."""
    ridge: Positive = 10.0
    """λ: how much the size of the update weighs against the residuals."""

    def statistics(self, text: CovarianceText) -> TextStatistics:
        """U of every layer, built once, as C is, of which it is made."""
        what = {"protected": FORM, "threshold": self.null_threshold}
        found = text.built(self.layers, what, lambda: self._protected(text))
        notes = tuple(
            f"layer {layer}: every eigenvalue of the covariance is below null_threshold, so nothing is protected"
            for layer, basis in found.by_layer.items()
            if not basis.shape[1]
        )
        return replace(found, notes=notes)

    def _protected(self, text: CovarianceText) -> TextStatistics:
        found = text.covariances(self.layers, self.forward_batch)
        bases = {}
        for layer, covariance in found.by_layer.items():
            try:
                basis = alphaedit_update.protected(covariance.to(text.subject.device), self.null_threshold)
            except InterventionError as error:
                raise InterventionError(f"alphaedit: layer {layer}: {error}") from None
            bases[layer] = basis.float()
        return replace(found, by_layer=bases)

    def update(
        self, statistic: Tensor, keys: Tensor, residual: Tensor, earlier: Tensor | None
    ) -> tuple[Tensor, tuple[str, ...]]:
        return alphaedit_update.update(statistic, keys, residual, self.ridge, earlier), ()

    def built_bytes(self, work: Workload) -> int:
        """C of every layer, and U, fp32, which is as large at most."""
        return 2 * super().built_bytes(work)

    def text_operations(self, work: Workload) -> Effort:
        """C, and the eigenvectors of every layer's: 9·in³ operations."""
        return super().text_operations(work) + Effort(fp64=9.0 * len(self.layers) * work.inner**3)

    def formula_operations(self, work: Workload) -> Effort:
        """PK, KᵀPK and its solution for as many right-hand sides as W has outputs."""
        columns = work.edits * (4.0 * work.inner**2 + 2.0 * work.inner * (work.edits + work.hidden))
        return Effort(fp64=len(self.layers) * (columns + work.edits**3 / 3 + 2.0 * work.edits**2 * work.hidden))
