"""Greedy continuations of many prompts at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from rayci.errors import MeasurementError
from rayci.model.encoding import chunks, left_padded, prompt_ids
from rayci.subject import Subject

GENERATION_BATCH = 256
"""Prompts in one forward pass; does not change the greedy tokens."""


@torch.no_grad()
def greedy(subject: Subject, prompts: Sequence[str], lengths: Sequence[int]) -> list[list[int]]:
    """Greedy token ids of each prompt, at most `lengths[i]` new tokens, in the order given."""
    order = sorted(range(len(prompts)), key=lambda index: (lengths[index], len(prompts[index])))
    outputs: list[list[int]] = [[] for _ in prompts]
    for group in chunks(order, GENERATION_BATCH):
        rows = [prompt_ids(subject.tokenizer, prompts[index]) for index in group]
        most = max(lengths[index] for index in group)
        for index, tokens in zip(group, _continue(subject, rows, most), strict=True):
            outputs[index] = tokens[: lengths[index]]
    return outputs


def _continue(subject: Subject, rows: Sequence[list[int]], most: int) -> list[list[int]]:
    ids, mask = (part.to(subject.device) for part in left_padded(subject.tokenizer, rows))
    generate: Any = subject.model.generate
    watch = LogitsProcessorList([_RefuseNan()])
    generated = generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=most,
        do_sample=False,
        pad_token_id=subject.tokenizer.pad_token_id,
        logits_processor=watch,
    )
    return [list(row) for row in generated[:, ids.shape[1] :].tolist()]


class _RefuseNan(LogitsProcessor):
    """A greedy choice among NaN would look like an answer."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if bool(torch.isnan(scores).any()):
            raise MeasurementError("the model's probabilities are NaN")
        return scores
