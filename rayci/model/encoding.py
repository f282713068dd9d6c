"""Texts to padded token batches with labels; padding never carries a label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")

IGNORED = -100
"""Label of tokens that carry no loss, as in transformers."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Right-padded inputs, int64 `[items, tokens]` each."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    """Token ids where the token is a target, `IGNORED` elsewhere."""

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return Batch(self.input_ids.to(device), self.attention_mask.to(device), self.labels.to(device))

    @property
    def labelled(self) -> Tensor:
        """Which tokens carry a label and are predicted, as an item's first is not; bool `[items, tokens - 1]`."""
        return self.labels[:, 1:] != IGNORED

    def parts(self, most_tokens: int) -> Iterator[Batch]:
        """Consecutive items, each part of at most `most_tokens` with its padding, or of one item; all are as wide."""
        size = max(1, most_tokens // self.input_ids.shape[1])
        columns = (self.input_ids, self.attention_mask, self.labels)
        return (Batch(*rows) for rows in zip(*(column.split(size) for column in columns), strict=True))


def target_ids(tokenizer: PreTrainedTokenizerBase, target: str) -> list[int]:
    """Token ids of a target, tokenized with a leading space and without special tokens."""
    text = target if target.startswith(" ") else f" {target}"
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Token ids of a prompt, with the model's own leading special tokens."""
    return list(tokenizer(prompt, verbose=False)["input_ids"])


def beginning_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token that begins texts, else that which ends them: what stands for a prompt without a token."""
    begin: int | None = tokenizer.bos_token_id
    end: int | None = tokenizer.eos_token_id
    return end if begin is None else begin


def encode_targets(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]) -> Batch:
    """(prompt, target) pairs; only the target's tokens carry labels."""
    rows = [(prompt_ids(tokenizer, prompt), target_ids(tokenizer, target)) for prompt, target in pairs]
    return _pad(tokenizer, [(prompt + target, [IGNORED] * len(prompt) + target) for prompt, target in rows])


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> Batch:
    """Whole texts, cut to `max_tokens`; every token is a target."""
    rows = [prompt_ids(tokenizer, text)[:max_tokens] for text in texts]
    return _pad(tokenizer, [(row, list(row)) for row in rows])


def left_padded(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, int64 `[items, tokens]`, padded on the left so that all rows end together."""
    width, pad = max(map(len, rows)), int(tokenizer.pad_token_id or 0)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    return ids, torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive slices of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _pad(tokenizer: PreTrainedTokenizerBase, rows: Sequence[tuple[list[int], list[int]]]) -> Batch:
    width = max(len(ids) for ids, _ in rows)
    pad = int(tokenizer.pad_token_id or 0)
    return Batch(
        torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in rows]),
        torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows]),
        torch.tensor([labels + [IGNORED] * (width - len(labels)) for _, labels in rows]),
    )
