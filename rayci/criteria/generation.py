"""Greedy continuations of many prompts at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rayci.errors import MeasurementError
from rayci.model.encoding import chunks, left_padded, prompt_ids
from rayci.subject import Subject

if TYPE_CHECKING:
    from transformers import GenerationConfig

GENERATION_BATCH = 256
"""Prompts in one forward pass; does not change the greedy tokens."""
SPARE = 8
"""How many tokens that do not count are made up for by further ones."""

Counts = Callable[[int], bool]
"""Whether a token id counts."""


@torch.no_grad()
def greedy(subject: Subject, prompts: Sequence[str], lengths: Sequence[int], counts: Counts) -> list[list[int]]:
    """Greedy token ids of each prompt, the first `lengths[i]` that count, in the order given.

    What does not count is left out before the cut; a row ends after `lengths[i] + SPARE` tokens.
    """
    order = sorted(range(len(prompts)), key=lambda index: (lengths[index], len(prompts[index])))
    outputs: list[list[int]] = [[] for _ in prompts]
    for group in chunks(order, GENERATION_BATCH):
        rows = [prompt_ids(subject.tokenizer, prompts[index]) for index in group]
        enough = _Enough([lengths[index] for index in group], counts)
        for index, tokens in zip(group, _continue(subject, rows, enough), strict=True):
            own = tokens[: lengths[index] + SPARE]  # however long the others of the batch went on
            outputs[index] = [token for token in own if counts(token)][: lengths[index]]
    return outputs


def _continue(subject: Subject, rows: Sequence[list[int]], enough: _Enough) -> list[list[int]]:
    from transformers import LogitsProcessorList, StoppingCriteriaList

    ids, mask = (part.to(subject.device) for part in left_padded(subject.tokenizer, rows))
    generate: Any = subject.model.generate
    with _plain_greedy(subject, enough.most + SPARE) as configuration:
        generated = generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=configuration,
            logits_processor=LogitsProcessorList([_RefuseNan()]),
            stopping_criteria=StoppingCriteriaList([enough]),
        )
    return [list(row) for row in generated[:, ids.shape[1] :].tolist()]


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
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    own, subject.model.generation_config = subject.model.generation_config, GenerationConfig()
    try:
        yield configuration
    finally:
        subject.model.generation_config = own


class _Enough:
    """Ends a batch once each row has as many tokens that count as it wants."""

    def __init__(self, lengths: Sequence[int], counts: Counts) -> None:
        self.most = max(lengths)
        self._missing, self._counts = list(lengths), counts

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        for row, token in enumerate(input_ids[:, -1].tolist()):
            self._missing[row] -= self._counts(token)
        done = max(self._missing) <= 0
        return torch.full((len(input_ids),), done, device=input_ids.device)


class _RefuseNan:
    """A greedy choice among NaN would look like an answer."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if bool(torch.isnan(scores).any()):
            raise MeasurementError("the model's probabilities are NaN")
        return scores
