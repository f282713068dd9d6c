"""Losses computed one text at a time with torch's own cross-entropy: no padding, no batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from rayci.data.records import EditRecord
from rayci.model.encoding import IGNORED, Batch
from rayci.subject import Subject


def edit_loss(subject: Subject, edits: Sequence[EditRecord]) -> Tensor:
    """Mean over the edits of each one's mean cross-entropy over its target tokens."""
    losses = []
    for edit in edits:
        prompt = subject.tokenizer(edit.prompt)["input_ids"]
        target = subject.tokenizer(" " + edit.target_new, add_special_tokens=False)["input_ids"]
        logits = subject.model(input_ids=torch.tensor([prompt + target])).logits[0]
        predicting = logits[len(prompt) - 1 : len(prompt) + len(target) - 1]
        losses.append(F.cross_entropy(predicting, torch.tensor(target)))
    return torch.stack(losses).mean()


def text_loss(subject: Subject, texts: Sequence[str], max_tokens: int) -> Tensor:
    """Mean cross-entropy over all tokens but the first of each text."""
    losses = []
    for text in texts:
        ids = torch.tensor(subject.tokenizer(text)["input_ids"][:max_tokens])
        logits = subject.model(input_ids=ids[None]).logits[0]
        losses.append(F.cross_entropy(logits[:-1], ids[1:], reduction="none"))
    return torch.cat(losses).mean()


def batch_loss(subject: Subject, batch: Batch) -> Tensor:
    """Mean cross-entropy over the labelled tokens of a padded batch, from all its logits at once."""
    logits = subject.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1).float(), batch.labels[:, 1:].flatten(), ignore_index=IGNORED)
