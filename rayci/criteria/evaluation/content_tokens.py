"""Greedy continuations without what is no content: special tokens and bare spaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from rayci.criteria.evaluation.continuations import continuations
from rayci.criteria.evaluation.prompts import Enough, Prompt, encoded
from rayci.subject import Subject

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tells = Callable[[int], bool]
"""Whether a token id is of some sort."""
SPARE = 8
"""How many tokens that do not count are made up for by further ones."""


def content_tokens(
    subject: Subject, prompts: Sequence[str], wanted: Sequence[int], most_tokens: int, *, one_line: bool = False
) -> list[list[int]]:
    """The first `wanted[i]` content tokens of each greedy continuation, fewer where the text ends before.

    What does not count is left out before the cut; a continuation has at most `wanted[i] + SPARE`
    tokens of all sorts. With `one_line` it ends before the first token that holds a line break.
    """
    counts, breaks = is_content(subject.tokenizer), has_line_break(subject.tokenizer)
    stops: Tells = breaks if one_line else lambda token: False
    rows = [
        Prompt(ids, most + SPARE, _has(most, counts, stops))
        for ids, most in zip(encoded(subject.tokenizer, prompts), wanted, strict=True)
    ]
    news = continuations(subject, rows, most_tokens)
    return [
        [token for token in new if counts(token) and not stops(token)][:most]
        for new, most in zip(news, wanted, strict=True)
    ]


def is_content(tokenizer: PreTrainedTokenizerBase) -> Tells:
    """Tells special tokens and bare spaces from all others."""
    special = set(tokenizer.all_special_ids)

    @cache
    def counts(token: int) -> bool:
        return token not in special and bool(str(tokenizer.decode([token])).strip(" "))

    return counts


def has_line_break(tokenizer: PreTrainedTokenizerBase) -> Tells:
    """Tells tokens that hold a line break from all others."""

    @cache
    def breaks(token: int) -> bool:
        return "\n" in str(tokenizer.decode([token]))

    return breaks


def _has(wanted: int, counts: Tells, stops: Tells) -> Enough:
    return lambda new: stops(new[-1]) or sum(map(counts, new)) >= wanted
