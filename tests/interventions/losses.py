"""Losses computed one text at a time with torch's own cross-entropy: no padding, no batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from rayci.data.records import EditRecord
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
