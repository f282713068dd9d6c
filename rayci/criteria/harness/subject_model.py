"""A subject as the harness sees models: options of questions go the fast path, all else is the harness's own code."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from rayci.criteria.evaluation.multiple_choice import log_likelihoods
from rayci.criteria.evaluation.question_tokens import Question
from rayci.errors import MeasurementError
from rayci.subject import Subject


class SubjectModel(HFLM):  # type: ignore[misc]
    """The harness's model class around a subject, whose tokenizer it gets as a copy: it sets its padding.

    `fast` names the tasks that look at likelihoods of options alone, not at whether they are greedy.
    """

    def __init__(self, subject: Subject, *, fast: frozenset[str], batch_size: int, forward_tokens: int) -> None:
        super().__init__(
            pretrained=subject.model,
            tokenizer=copy.deepcopy(subject.tokenizer),
            backend="causal",
            batch_size=batch_size,
            max_length=subject.context_length,
        )
        self._device = subject.device
        self.subject, self.fast, self.forward_tokens = subject, fast, forward_tokens
        self._begins = self.tokenizer.decode(self.prefix_token_id)

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """(log p(continuation | context), whether it is greedy) of each request; raises MeasurementError for NaN.

        On the fast path nobody asks whether it is greedy, and False is said.
        """
        quick = [self._is_quick(request) for request in requests]
        own = [request for request, fast in zip(requests, quick, strict=True) if fast]
        others = [request for request, fast in zip(requests, quick, strict=True) if not fast]
        scores = iter(self._fast_path(own))
        answers = iter(super().loglikelihood(others, disable_tqdm=True) if others else [])
        found = [(next(scores), False) if fast else next(answers) for fast in quick]
        if any(score != score for score, _ in found):
            raise MeasurementError("the model's probabilities are NaN")
        return found

    def _is_quick(self, request: Any) -> bool:
        """Whether our tokens are the harness's: not where a context is empty, or says itself how texts begin."""
        context: str = request.args[0]
        return request.task_name in self.fast and bool(context.strip()) and not context.startswith(self._begins)

    def _fast_path(self, requests: Sequence[Any]) -> Iterator[float]:
        """Requests in a row with one context are the options of a question; questions of a task begin alike."""
        questions = [
            Question(context, tuple(request.args[1] for request in options), task)
            for (task, _, context), options in groupby(requests, lambda one: (one.task_name, one.doc_id, one.args[0]))
        ]
        for scores in log_likelihoods(self.subject, questions, self.forward_tokens) if questions else ():
            yield from scores

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[float]:
        """log p of each whole text."""
        found: list[float] = super().loglikelihood_rolling(requests, disable_tqdm=True)
        if any(score != score for score in found):
            raise MeasurementError("the model's probabilities are NaN")
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """Continuations up to a stop; raises MeasurementError for a model whose logits are NaN: none is the largest."""
        start = torch.tensor([[self.prefix_token_id]], device=self.subject.device)
        with torch.no_grad():
            if bool(self.subject.model(input_ids=start, use_cache=False).logits.isnan().any()):
                raise MeasurementError("the model's logits are NaN")
        found: list[str] = super().generate_until(requests, disable_tqdm=True)
        return found
