"""Greedy continuations as texts, cut where an answer ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rayci.criteria.evaluation.continuations import continuations
from rayci.criteria.evaluation.prompts import Enough, Prompt, encoded
from rayci.subject import Subject

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def greedy_texts(
    subject: Subject,
    prompts: Sequence[str],
    *,
    most: int,
    most_tokens: int,
    stops: Sequence[str] = (),
    groups: Sequence[str] | None = None,
) -> list[str]:
    """The greedy continuation of each prompt, of at most `most` tokens, in the order given.

    It ends with the text, or before the first of `stops`. Special tokens are left out. `groups`
    names prompts that begin alike, with the same few-shot examples, which are then computed once.
    A prompt that leaves no room for `most` tokens in the model's context keeps its last tokens.
    `most_tokens` bounds a batch and changes nothing else. Raises MeasurementError for NaN.
    """
    tokenizer, names = subject.tokenizer, groups or [""] * len(prompts)
    enough = _holds_any(tokenizer, stops)
    rows = [Prompt(ids, most, enough, name) for ids, name in zip(encoded(tokenizer, prompts), names, strict=True)]
    texts = (text_of(tokenizer, new) for new in continuations(subject, rows, most_tokens))
    return [_before(text, stops) for text in texts]


def _holds_any(tokenizer: PreTrainedTokenizerBase, stops: Sequence[str]) -> Enough:
    """Whether tokens hold a stop; looked for in as many of the last as it can be made of, then in all."""
    last = 1 + max((len(stop.encode()) for stop in stops), default=0)

    def enough(tokens: list[int]) -> bool:
        end = text_of(tokenizer, tokens[-last:])
        return any(stop in end and stop in text_of(tokenizer, tokens) for stop in stops)

    return enough if stops else lambda tokens: False


def _before(text: str, stops: Sequence[str]) -> str:
    return text[: min((place for place in map(text.find, stops) if place >= 0), default=len(text))]


def text_of(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """What tokens say, special ones left out and spaces as they are, whatever the tokenizer would tidy up."""
    return str(tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))
