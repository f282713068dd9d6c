"""The fast path for multiple choice: log-likelihoods of all options, and which one a model chooses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rayci.criteria.evaluation.option_likelihoods import option_log_probs
from rayci.criteria.evaluation.prefix_cache import prefix_cache, repeated
from rayci.criteria.evaluation.question_rows import Group, batches, groups
from rayci.criteria.evaluation.question_tokens import Question, tokenised
from rayci.subject import Subject


@torch.no_grad()
def log_likelihoods(subject: Subject, questions: Sequence[Question], most_tokens: int) -> list[list[float]]:
    """log p(option | context) in nats, summed over the option's tokens, for every option of every question.

    What the questions of a group begin with is computed once, and its keys and values are read by
    all of them. `most_tokens` bounds a forward pass, prefix and padding included, and changes
    nothing else. NaN where the model says so. Raises MeasurementError for an option of no token,
    or of more than the model's context.
    """
    asked = tuple(questions)
    tokens = tokenised(subject.tokenizer, asked)
    scores = np.zeros(sum(len(question.options) for question in asked))
    for group in groups(asked, tokens, subject.context_length):
        _score(subject, group, most_tokens, scores)
    ends = np.cumsum([len(question.options) for question in asked])
    return [part.tolist() for part in np.split(scores, ends[:-1])]


def cut_prompts(subject: Subject, questions: Sequence[Question]) -> int:
    """How many questions are longer than the model's context, so that only their last tokens are read."""
    tokens = tokenised(subject.tokenizer, tuple(questions))
    return sum(own.longest - 1 > subject.context_length for own in tokens)


def _score(
    subject: Subject, group: Group, most_tokens: int, scores: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> None:
    cache = prefix_cache(subject, group.prefix) if len(group.prefix) else None
    if cache is None:
        group = group.whole()
    for rows in batches(group, most_tokens):
        own = None if cache is None else repeated(cache, len(rows))
        for place, score in option_log_probs(subject, rows, own):
            scores[place] = score


def chosen(scores: Sequence[float]) -> int:
    """The option with the highest score, the first of equals."""
    return max(range(len(scores)), key=scores.__getitem__)


def per_character(scores: Sequence[float], options: Sequence[str]) -> list[float]:
    """Log-likelihoods divided by the characters of their options, without the space before: lm-eval's `acc_norm`."""
    return [score / max(1, len(option.removeprefix(" "))) for score, option in zip(scores, options, strict=True)]
