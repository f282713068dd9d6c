"""What an intervention or criterion may read besides the subject: data and seeded draws."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rayci.data.records import Collection, EditRecord
from rayci.errors import DataError
from rayci.fingerprint import derive_seed


@dataclass(frozen=True)
class Context:
    """Data and random streams of one (seed, edit batch).

    Streams derive from (sweep seed, seed index, purpose) and, only where asked, the edit
    batch; never from γ, order or fingerprint. Curves of both orders thus see the same
    draws and differ by the treatment alone (common random numbers).
    """

    data: Collection
    sweep_seed: int = 0
    seed: int = 0
    replicate: int = 0
    batch_size: int = 50
    reference: Sequence[Any] | None = None
    """Stage-0 records of the criterion that is being measured, where it `compares`."""
    tokens: Tensor | None = field(default=None, repr=False)
    """Calibration tokens given directly, int64 `[sequences, tokens]`; wins over the documents."""

    def random(self, purpose: str, *, per_batch: bool = False) -> random.Random:
        """A seeded Python stream for one purpose."""
        return random.Random(self._seed(purpose, per_batch))

    def generator(self, purpose: str, *, per_batch: bool = False) -> torch.Generator:
        """A seeded torch stream for one purpose, on the CPU so that devices agree."""
        return torch.Generator().manual_seed(self._seed(purpose, per_batch))

    def _seed(self, purpose: str, per_batch: bool) -> int:
        return derive_seed(self.sweep_seed, self.seed, purpose, *((self.replicate,) if per_batch else ()))

    def with_reference(self, records: Sequence[Any] | None) -> Context:
        """The same context with the stage-0 records of a criterion."""
        return replace(self, reference=records)

    @property
    def edits(self) -> tuple[EditRecord, ...]:
        """This replicate's edit batch."""
        return edit_batch(self.data, self.sweep_seed, self.replicate, self.batch_size)

    def calibration(self, tokenizer: PreTrainedTokenizerBase, sequences: int, length: int) -> Tensor:
        """`sequences` windows of `length` tokens of the calibration text, int64, in drawn order.

        Documents are shuffled by the seed, joined with an end-of-text token between them and
        cut into windows. Raises DataError where the text is too short.
        """
        if self.tokens is not None:
            return _given_tokens(self.tokens, sequences)
        documents = list(self.data.calibration)
        self.random("calibration").shuffle(documents)
        separator = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
        stream: list[int] = []
        for document in documents:
            stream += tokenizer(document.text, add_special_tokens=False)["input_ids"] + separator
            if len(stream) >= sequences * length:
                return torch.tensor(stream[: sequences * length]).view(sequences, length)
        raise DataError(
            f"calibration text holds {len(stream) // length} sequences of {length} tokens, {sequences} were asked for",
            at=self.data.sources.get("calibration", "calibration"),
            hint="more calibration text, fewer `sequences` or a smaller `length`",
        )


def edit_batch(data: Collection, sweep_seed: int, replicate: int, size: int) -> tuple[EditRecord, ...]:
    """Batch k = items [k·size, (k+1)·size) of one seeded shuffle of all edits."""
    order = list(data.edits)
    random.Random(derive_seed(sweep_seed, "edit batches")).shuffle(order)
    batch = tuple(order[replicate * size : (replicate + 1) * size])
    if len(batch) < size:
        raise DataError(
            f"replicate {replicate} needs edits {replicate * size} to {(replicate + 1) * size}, there are {len(order)}",
            at=data.sources.get("edits", "edits"),
            hint="fewer replicates, a smaller edit batch, or more edits",
        )
    return batch


def _given_tokens(tokens: Tensor, sequences: int) -> Tensor:
    if tokens.ndim != 2 or tokens.dtype != torch.int64:
        raise DataError(
            f"calibration is {tokens.dtype} of shape {tuple(tokens.shape)}",
            allowed="int64 of shape [sequences, tokens]",
        )
    if len(tokens) < sequences:
        raise DataError(
            f"calibration holds {len(tokens)} sequences, {sequences} were asked for",
            hint=f"settings: sequences = {len(tokens)}, or more calibration text",
        )
    return tokens[:sequences]
