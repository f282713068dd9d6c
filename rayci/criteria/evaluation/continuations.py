"""Greedy continuations of many prompts at once, equal to those that `generate` gives one prompt.

Rows of like length run together, padded on the left; what is complete leaves the batch, and its
keys and values the cache. What a group begins with is computed once. Nothing of the model folder's
generation configuration is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rayci.criteria.evaluation.generate_calls import generated
from rayci.criteria.evaluation.likeliest import next_tokens
from rayci.criteria.evaluation.prefix_cache import prefix_cache, shifted
from rayci.criteria.evaluation.prompts import Prompt, batches, fitted, groups
from rayci.criteria.evaluation.scored_positions import at_positions, projecting
from rayci.model.encoding import left_padded
from rayci.subject import Subject

if TYPE_CHECKING:
    from transformers import DynamicCache


@torch.no_grad()
def continuations(subject: Subject, prompts: Sequence[Prompt], most_tokens: int) -> list[list[int]]:
    """The new tokens of each prompt in the order given, the end-of-text token left out.

    `most_tokens` bounds prompts and continuations of a batch, padding included, and changes
    nothing else. A prompt that leaves no room in the context keeps its last tokens. Models that
    keep no cache of keys and values alone are left to `generate`. Raises MeasurementError for NaN.
    """
    asked = [fitted(prompt, subject.context_length) for prompt in prompts]
    cached = prefix_cache(subject, np.zeros(1, np.int32)) is not None
    outputs: list[list[int]] = [[] for _ in asked]
    for prefix, members in groups(asked):
        beginning = prefix_cache(subject, prefix) if cached and len(prefix) else None
        for places in batches(asked, members, most_tokens):
            batch = [asked[place] for place in places]
            news = _Batch(subject, batch, beginning).run() if cached else generated(subject, batch)
            for place, new in zip(places, news, strict=True):
                outputs[place] = new[:-1] if new[-1] == subject.tokenizer.eos_token_id else new
    return outputs


class _Batch:
    """Rows that still run: one place of the mask, the cache and the inputs for each."""

    def __init__(self, subject: Subject, prompts: Sequence[Prompt], beginning: DynamicCache | None) -> None:
        self._subject, self._prompts = subject, prompts
        self._rows = [prompt.ids.tolist() for prompt in prompts]
        ids, self._mask = (part.to(subject.device) for part in left_padded(subject.tokenizer, self._rows))
        self._cache = self._begun(beginning, ids.shape[1])
        self._inputs = ids[:, self._cache.get_seq_length() :]
        self._positions = (self._mask.cumsum(-1) - 1).clamp(min=0)[:, self._cache.get_seq_length() :]
        self._takes_positions = "position_ids" in signature(subject.model.forward).parameters

    def _begun(self, beginning: DynamicCache | None, width: int) -> DynamicCache:
        """A cache with room for all tokens; it holds what rows begin with where those padded to `width` have it."""
        from rayci.criteria.evaluation.roomy_cache import roomy  # with transformers, which a model has loaded

        room = width + max(prompt.most for prompt in self._prompts)
        own = None if beginning is None else shifted(beginning, [width - len(row) for row in self._rows], room)
        return roomy(self._subject.model, room) if own is None else own

    def run(self) -> list[list[int]]:
        """The new tokens of each row, with the one that ends its text."""
        news: list[list[int]] = [[] for _ in self._prompts]
        end, running = self._subject.tokenizer.eos_token_id, list(range(len(self._prompts)))
        while running:
            rows = [self._rows[row] + news[row] for row in running]
            tokens = next_tokens(self._subject, self._logits(), rows)
            for row, token in zip(running, tokens, strict=True):
                news[row].append(token)
            keep = [place for place, row in enumerate(running) if not self._prompts[row].ended(news[row], end)]
            running = [running[place] for place in keep]
            if running:
                self._go_on(keep, [tokens[place] for place in keep])
        return news

    def _logits(self) -> Tensor:
        """What follows each row, `[rows, vocabulary]`."""
        rows, width = self._inputs.shape
        last = torch.arange(1, rows + 1, device=self._inputs.device) * width - 1
        positions = {"position_ids": self._positions} if self._takes_positions else {}
        with projecting(self._subject.model, last):
            output = self._subject.model(
                input_ids=self._inputs,
                attention_mask=self._mask,
                past_key_values=self._cache,
                use_cache=True,
                **positions,
            )
        return at_positions(output.logits, last)

    def _go_on(self, keep: list[int], tokens: list[int]) -> None:
        """Leave out all rows but these places, and append a token to each of them."""
        if len(keep) < len(self._mask):
            places = torch.tensor(keep)  # on the CPU: layers may lie on several devices
            self._mask, self._positions = self._mask[places], self._positions[places]
            self._cache.batch_select_indices(places)
        self._inputs = torch.tensor(tokens, device=self._mask.device).unsqueeze(1)
        self._positions = self._positions[:, -1:] + 1
        self._mask = torch.cat((self._mask, torch.ones_like(self._inputs)), dim=1)
