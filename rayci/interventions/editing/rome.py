"""ROME: write facts into one MLP projection, one after the other, each by a change of rank one (arXiv 2202.05262).

    for every edit in order: k* its key, v* = W k* + δ, W += Λ(C⁻¹k*)ᵀ, Λ = (v* − W k*) / (C⁻¹k*)ᵀk*

Each edit is searched for and written on the weights that the one before has left: what users mean by ROME on a batch.
Only this layer changes, so keys and C are the same for all of them. Settings as in the configurations of ROME for
Llama-3-8B in EasyEdit and in AlphaEdit's repository (hparams/ROME); ‖δ‖ is measured against the MLP's output, as there.
They leave C out (`mom2_adjustment: false`), which the paper has: `covariance`, off in the preset `easyedit`.

Deviations: k* is the same in both places, where the authors' code divides by the bare prompt's, which breaks models on
longer sequences of edits (arXiv 2403.07175); k* is averaged as in MEMIT, one half bare prompt, over MEMIT's five
generated contexts in place of twenty. How k*, δ and C are found: `rayci.interventions.editing.closed_form`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from rayci.effort import Effort
from rayci.intervention import Preset
from rayci.interventions.editing.closed_form import ClosedForm, Layer, Written
from rayci.interventions.editing.constrained_update import rank_one, whiten
from rayci.interventions.editing.edit_contexts import Example
from rayci.interventions.editing.edit_keys import keys_and_outputs
from rayci.interventions.editing.key_covariances import CovarianceText, TextStatistics
from rayci.interventions.editing.value_search import Search, joined
from rayci.settings import Needs
from rayci.subject import Subject
from rayci.workload import Workload


class Rome(ClosedForm):
    """Rank-one edits of one layer, in order."""

    name: ClassVar[str] = "rome"
    paper: ClassVar[str] = "arXiv 2202.05262 (2022)"
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {
            "layers": (0,),
            "lr": 0.1,
            "clamp": 0.85,
            "stop_loss": 0.02,
            "passes": 20,
            "storage": "float32",
        },
        "easyedit": {"covariance": False},
    }
    parts: ClassVar[frozenset[str]] = ClosedForm.needs
    needs: ClassVar[frozenset[str]] = Needs()  # type: ignore[assignment]

    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=1)] = (5,)
    """The decoder block whose `mlp_out` weight is rewritten, counted from 0."""
    covariance: bool = True
    """Whether C weighs in the update, as in the paper; without it no covariance text is read, and Λ goes along k*."""

    def reads(self) -> frozenset[str]:
        """Parts of the data that these settings read."""
        return self.parts if self.covariance else frozenset({"edits"})

    def void_settings(self) -> Mapping[str, str]:
        void = super().void_settings()
        without = dict.fromkeys(
            ("documents", "max_tokens", "statistics_of"), "covariance = False leaves the text unread"
        )
        return void if self.covariance else {**void, **without}

    @property
    def edits_at_once(self) -> int:
        return 1

    @property
    def search(self) -> Search:
        return replace(super().search, measure="mlp")

    def write(self, subject: Subject, examples: Sequence[Example], text: CovarianceText) -> Written:
        (layer,) = self.layers
        statistics = self.chosen_statistics(text) if self.covariance else TextStatistics({}, 0, 0)
        keys, _ = keys_and_outputs(subject, layer, layer, examples, self.forward_batch)
        white, damping = whiten(statistics.by_layer[layer], keys) if self.covariance else (keys.double(), 0.0)
        found = []
        for column, example in enumerate(examples):
            found.append(targets := self.find(subject, [example]))
            residual = (targets.z - targets.start)[0]
            self.add(subject, layer, rank_one(white[:, column], keys[:, column], residual))
        retries = (f"layer {layer}: C singular, solved with damping {damping:g}",) if damping else ()
        return Written(joined(found), statistics, retries, {layer: keys})

    def built_bytes(self, work: Workload) -> int:
        """C, fp32, where it weighs."""
        return super().built_bytes(work) if self.covariance else 0

    def text_operations(self, work: Workload) -> Effort:
        return super().text_operations(work) if self.covariance else Effort()
