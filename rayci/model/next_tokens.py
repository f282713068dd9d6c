"""What a model would say next: the most probable tokens after a prompt."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rayci.errors import RequestError
from rayci.model.encoding import prompt_ids


@dataclass(frozen=True, slots=True)
class NextToken:
    """A candidate for the next token."""

    text: str
    probability: float


@torch.no_grad()
def next_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, top: int) -> list[NextToken]:
    """The `top` most probable next tokens, the likeliest first; RequestError for a prompt of no tokens."""
    ids = prompt_ids(tokenizer, prompt)
    if not ids:
        raise RequestError("the prompt holds no token", at="--prompt", hint='--prompt "The capital of France is"')
    device = next(model.get_input_embeddings().parameters()).device
    logits = model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits[0, -1]
    best = torch.softmax(logits.float(), dim=-1).topk(min(top, len(logits)))
    return [
        NextToken(str(tokenizer.decode([token])), probability)
        for token, probability in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
