"""Continuations by the model's own `generate`: for models whose past is more than keys and values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rayci.criteria.evaluation.prompts import Prompt
from rayci.errors import MeasurementError
from rayci.model.encoding import left_padded
from rayci.subject import Subject

if TYPE_CHECKING:
    from transformers import GenerationConfig


def generated(subject: Subject, prompts: Sequence[Prompt]) -> list[list[int]]:
    """The new tokens of each prompt, with the one that ends its text.

    Raises MeasurementError for NaN.
    """
    from transformers import LogitsProcessorList, StoppingCriteriaList

    ids, mask = left_padded(subject.tokenizer, [prompt.ids.tolist() for prompt in prompts])
    generate: Any = subject.model.generate
    end = subject.tokenizer.eos_token_id
    with _plain_greedy(subject, max(prompt.most for prompt in prompts)) as configuration:
        found = generate(
            input_ids=ids.to(subject.device),
            attention_mask=mask.to(subject.device),
            generation_config=configuration,
            logits_processor=LogitsProcessorList([_RefuseNan()]),
            stopping_criteria=StoppingCriteriaList([_Ended(prompts, ids.shape[1], end)]),
        )
    return [_cut(prompt, row, end) for prompt, row in zip(prompts, found[:, ids.shape[1] :].tolist(), strict=True)]


def _cut(prompt: Prompt, tokens: list[int], end: int | None) -> list[int]:
    """What the prompt takes of its row, which goes on with padding."""
    return next((tokens[:n] for n in range(1, len(tokens)) if prompt.ended(tokens[:n], end)), tokens)


@contextmanager
def _plain_greedy(subject: Subject, most: int) -> Iterator[GenerationConfig]:
    """A configuration in which nothing is the model folder's: penalties, beams and stop tokens would change the tokens.

    What a configuration leaves open `generate` takes from the model's own, so that is put aside meanwhile.
    """
    from transformers import GenerationConfig

    tokenizer = subject.tokenizer
    configuration = GenerationConfig(
        max_new_tokens=most,
        do_sample=False,
        num_beams=1,
        use_cache=bool({"past_key_values", "cache_params"} & set(signature(subject.model.forward).parameters)),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    own, subject.model.generation_config = subject.model.generation_config, GenerationConfig()
    try:
        yield configuration
    finally:
        subject.model.generation_config = own


class _Ended:
    """Tells which rows have ended; those get padding from then on."""

    def __init__(self, prompts: Sequence[Prompt], width: int, end: int | None) -> None:
        self._prompts, self._width, self._end = prompts, width, end
        self._done = [False] * len(prompts)

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        for row, new in enumerate(input_ids[:, self._width :].tolist()):
            self._done[row] = self._done[row] or self._prompts[row].ended(new, self._end)
        return torch.tensor(self._done, device=input_ids.device)


class _RefuseNan:
    """A greedy choice among NaN would look like an answer."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if bool(torch.isnan(scores).any()):
            raise MeasurementError("the model's probabilities are NaN")
        return scores
