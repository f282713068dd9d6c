"""Closed-form editors that write all edits of a batch at once, spread over a few layers.

    for every layer l in order: R = (Z − current)/(layers left), W += ΔW(K, R)

All z of a batch are searched together, which is equal to one by one. R is that of the last edited block with the
layers before l already written (arXiv 2210.07229, algorithm 1).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from pydantic import Field
from torch import Tensor

from rayci.interventions.editing.closed_form import ClosedForm, Written
from rayci.interventions.editing.earlier_keys import earlier_keys
from rayci.interventions.editing.edit_contexts import Example
from rayci.interventions.editing.edit_keys import keys_and_outputs
from rayci.interventions.editing.key_covariances import CovarianceText
from rayci.settings import ForwardBatch
from rayci.subject import Subject


class MassEditor(ClosedForm):
    """A formula for ΔW of one layer, and the settings that only a batch has."""

    z_batch: ForwardBatch = Field(default=50, ge=1)
    """Edits whose z are searched in one forward pass; each takes seven short prompts."""

    @property
    def edits_at_once(self) -> int:
        return self.z_batch

    @abstractmethod
    def update(
        self, statistic: Tensor, keys: Tensor, residual: Tensor, earlier: Tensor | None
    ) -> tuple[Tensor, tuple[str, ...]]:
        """ΔW `[out, in]` of one layer, and what had to be damped for it.

        `statistic` is the layer's of `statistics`, `keys` K `[in, edits]`, `residual` R `[out, edits]`, and `earlier`
        K_p `[in, earlier edits]`: the keys that steps before this one wrote into the layer.
        """

    def write(self, subject: Subject, examples: Sequence[Example], text: CovarianceText) -> Written:
        targets, statistics = self.find(subject, examples), self.chosen_statistics(text)
        earlier, retries = earlier_keys(subject, self.layers), []
        written: dict[int, Tensor] = {}
        for done, layer in enumerate(self.layers):
            keys, current = keys_and_outputs(subject, layer, self.layers[-1], examples, self.forward_batch)
            residual = (targets.z.T - current) / (len(self.layers) - done)
            change, damped = self.update(statistics.by_layer[layer], keys, residual, earlier.get(layer))
            retries += [f"layer {layer}: {what}" for what in damped]
            self.add(subject, layer, change)
            written[layer] = keys
        return Written(targets, statistics, tuple(retries), written)
