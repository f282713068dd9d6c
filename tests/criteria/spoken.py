"""Models that say given tokens, whatever they are asked."""

from __future__ import annotations

import itertools

import torch

from rayci.subject import Subject
from tests.models import tiny, tokenizer


def token(text: str) -> int:
    """The one token of a text or piece."""
    known: dict[str, int] = tokenizer().get_vocab()
    return known[text.replace(" ", "Ġ").replace("\n", "Ċ")]


def chained(*tokens: int) -> Subject:
    """A model that says these tokens one after the other, whatever came before the first."""
    subject = tiny(hidden_size=32)
    with torch.no_grad():
        for name, value in subject.model.named_parameters():
            value.fill_(1.0 if "norm" in name else 0.0)
        states = torch.eye(32)
        embeddings, head = subject.model.get_input_embeddings().weight, subject.model.get_output_embeddings().weight
        embeddings[:] = states[31]  # type: ignore[index]
        head[tokens[0]] = states[31]  # type: ignore[index]
        for place, (now, following) in enumerate(itertools.pairwise(tokens)):
            embeddings[now] = states[place]  # type: ignore[index]
            head[following] += states[place]  # type: ignore[index]
    return subject
