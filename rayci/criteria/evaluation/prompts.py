"""Prompts to be continued: their token ids, when a continuation is complete, and batches of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rayci.criteria.evaluation.question_tokens import Ids
from rayci.criteria.evaluation.row_batches import row_batches, shared_length
from rayci.errors import MeasurementError
from rayci.model.encoding import beginning_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Enough = Callable[[list[int]], bool]
"""Whether a continuation is complete with these tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Token ids to be continued, and how far."""

    ids: Ids
    most: int
    """New tokens, at most."""
    enough: Enough
    """Asked after each new token."""
    group: str = ""
    """Prompts of one group begin alike, with their few-shot examples; those of none share nothing."""

    def ended(self, new: list[int], end_of_text: int | None) -> bool:
        """Whether nothing comes after these new tokens."""
        return new[-1] == end_of_text or len(new) >= self.most or self.enough(new)


def fitted(prompt: Prompt, context_length: int) -> Prompt:
    """The prompt, or the last of its tokens that leave room for the new ones; it then begins like no other."""
    room = context_length - prompt.most
    if room < 1:
        raise MeasurementError(f"{prompt.most} new tokens leave no room for a prompt in a context of {context_length}")
    return prompt if len(prompt.ids) <= room else Prompt(prompt.ids[-room:], prompt.most, prompt.enough)


def encoded(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Ids]:
    """Token ids of prompts, with the tokenizer's own leading special tokens, once.

    A text that begins with them, as chat templates do, gets no others; where a text has no token,
    the one that begins or ends texts stands for it.
    """
    begin = tokenizer.bos_token
    begins = [bool(begin) and text.startswith(str(begin)) for text in texts]
    rows = [
        tokenizer(text, add_special_tokens=not own, verbose=False)["input_ids"]
        for text, own in zip(texts, begins, strict=True)
    ]
    return [np.array(row or [beginning_id(tokenizer)], np.int32) for row in rows]


def groups(prompts: Sequence[Prompt]) -> Iterator[tuple[Ids, list[int]]]:
    """(what all prompts of a group begin with, their places); those without a group share nothing."""
    members: dict[str, list[int]] = {}
    for place, prompt in enumerate(prompts):
        members.setdefault(prompt.group, []).append(place)
    for name, places in members.items():
        shared = shared_length([prompts[place].ids for place in places]) if name else 0
        yield prompts[places[0]].ids[:shared], places


def batches(prompts: Sequence[Prompt], places: Sequence[int], most_tokens: int) -> Iterator[list[int]]:
    """The places of some prompts in batches, continuations counted; see `row_batches`."""
    lengths = {place: len(prompts[place].ids) for place in places}
    return row_batches(lengths, most_tokens, {place: prompts[place].most for place in places})
