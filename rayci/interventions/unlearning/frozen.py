"""The model as it was before training: what KL and NPO compare with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.func import functional_call

from rayci.interventions.trainer import batch_logits
from rayci.interventions.unlearning.batches import Drawn
from rayci.model.encoding import IGNORED, Batch, chunks
from rayci.model.likelihood import distributions, sequence_log_probs
from rayci.subject import Subject


def originals(subject: Subject, names: Iterable[str]) -> dict[str, Tensor]:
    """Copies of the parameters that will be trained; the rest of the model stays as it is anyway."""
    return {name: value.detach().clone() for name, value in subject.parameters_of(names).items()}


@torch.no_grad()
def frozen_logits(subject: Subject, weights: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """Logits of the model with these weights in place of its own."""
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "use_cache": False}
    logits: Tensor = functional_call(subject.model, dict(weights), args=(), kwargs=inputs).logits
    return logits


@torch.no_grad()
def reference_sequences(subject: Subject, drawn: Drawn, batch: int) -> Tensor:
    """log p_ref of every drawn item, `[items]`; called before training."""
    log_probs = []
    for places in chunks(range(len(drawn.items)), batch):
        moved = drawn.batch(places).to(subject.device)
        log_probs.append(sequence_log_probs(batch_logits(subject, moved), moved.labels))
    return torch.cat(log_probs)


class ReferenceDistributions:
    """log p_ref over the vocabulary for the labelled tokens of drawn items.

    They are computed once, before training, where that takes no more memory than a copy of the
    trained weights would; otherwise such a copy is kept and they are computed anew for each batch.
    """

    def __init__(self, subject: Subject, names: Iterable[str], drawn: Drawn, batch: int) -> None:
        self._subject, self._drawn = subject, drawn
        self._kept: list[Tensor] | None = None
        self._weights: dict[str, Tensor] = {}
        parameters = subject.parameters_of(names)
        width = subject.model.get_output_embeddings().weight.shape[0]
        if 4 * width * _labelled(drawn, batch) <= sum(p.numel() * p.element_size() for p in parameters.values()):
            self._kept = self._compute(batch)
        else:
            self._weights = originals(subject, parameters)

    def of(self, places: tuple[int, ...], batch: Batch) -> Tensor:
        """The rows of a batch made of the items at these places, `[labelled, vocabulary]`."""
        if self._kept is not None:
            return torch.cat([self._kept[place] for place in places])
        return distributions(frozen_logits(self._subject, self._weights, batch), batch.labels)

    @torch.no_grad()
    def _compute(self, batch: int) -> list[Tensor]:
        of_items: list[Tensor] = []
        for places in chunks(range(len(self._drawn.items)), batch):
            moved = self._drawn.batch(places).to(self._subject.device)
            rows = distributions(batch_logits(self._subject, moved), moved.labels)
            of_items += rows.split((moved.labels[:, 1:] != IGNORED).sum(1).tolist())
        return of_items


def _labelled(drawn: Drawn, batch: int) -> int:
    groups = (drawn.batch(places).labels for places in chunks(range(len(drawn.items)), batch))
    return sum(int((labels[:, 1:] != IGNORED).sum()) for labels in groups)
