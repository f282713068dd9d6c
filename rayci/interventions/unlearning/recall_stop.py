"""Whether a model still answers questions."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rayci.data.records import QuestionAnswer
from rayci.interventions.predictions import predict
from rayci.model.encoding import chunks, encode_targets
from rayci.subject import Subject

FORWARD_BATCH = 64
"""Questions in one forward pass."""


@torch.no_grad()
def questions_answered(subject: Subject, questions: Sequence[QuestionAnswer]) -> list[bool]:
    """For each question, whether greedy decoding gives the answer: all its tokens are the most likely."""
    answers: list[bool] = []
    for group in chunks(questions, FORWARD_BATCH):
        batch = encode_targets(subject.tokenizer, [(item.prompt, item.answer) for item in group])
        answers += predict(subject, batch).answered().tolist()
    return answers


def share_answered(subject: Subject, questions: Sequence[QuestionAnswer]) -> float:
    """Share of the questions that are answered."""
    return sum(questions_answered(subject, questions)) / len(questions)
