"""Multiple-choice questions as token ids, split between context and option as lm-eval splits them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rayci.model.encoding import beginning_id, chunks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = NDArray[np.int32]
"""Token ids `[tokens]`."""
_AT_ONCE = 256
"""Questions that the tokenizer gets at once: its lists of Python integers take ten times the room of ours."""


@dataclass(frozen=True, slots=True)
class Question:
    """What stands before the options of one question, and the options as they go on from there."""

    context: str
    """Header, few-shot examples and the question."""
    options: tuple[str, ...]
    """Each with the space that divides it from the context."""
    group: str = ""
    """Questions of one group (a subject) begin alike, with its few-shot examples; those of none share nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class QuestionTokens:
    """A question's token ids."""

    context: Ids
    options: tuple[Ids, ...]

    @property
    def longest(self) -> int:
        """Tokens of the context and the longest option."""
        return len(self.context) + max(map(len, self.options))


@lru_cache(maxsize=16)  # the questions of each criterion are the same after every stage
def tokenised(tokenizer: PreTrainedTokenizerBase, questions: tuple[Question, ...], /) -> tuple[QuestionTokens, ...]:
    """Token ids of all questions; kept for later calls with the same tokenizer and equal questions.

    Context and option are tokenized together, and what goes beyond the tokens of the context alone
    is the option; spaces that end a context belong to the option (lm-eval, `_encode_pair`). The
    context carries the tokenizer's own leading special tokens; where it is empty, the token that
    begins or ends texts stands for it.
    """
    return tuple(tokens for some in chunks(questions, _AT_ONCE) for tokens in _split(tokenizer, some))


def _split(tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question]) -> Iterator[QuestionTokens]:
    contexts = [question.context.rstrip() for question in questions]
    starts = _encoded(tokenizer, contexts)
    whole = iter(_encoded(tokenizer, [question.context + text for question in questions for text in question.options]))
    for question, context, start in zip(questions, contexts, starts, strict=True):
        if context:
            options = tuple(next(whole)[len(start) :] for _ in question.options)
        else:
            start, options = _alone(tokenizer, [question.context + text for text in question.options])
            for _ in options:
                next(whole)
        yield QuestionTokens(start, options)


def _alone(tokenizer: PreTrainedTokenizerBase, options: Sequence[str]) -> tuple[Ids, tuple[Ids, ...]]:
    return np.array([beginning_id(tokenizer)], np.int32), tuple(_encoded(tokenizer, options, add_special_tokens=False))


def _encoded(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[Ids]:
    rows = tokenizer(list(texts), add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
    return [np.array(row, np.int32) for row in rows]
