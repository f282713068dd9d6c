"""RT, refusal training: fine-tune on replies that decline to answer the forget questions.

    min CE(reply | forget question)

As in RWKU (arXiv 2406.10890); AdamW, constant rate. The reply to each question is drawn from
`replies` by the seed, once. No source prints a learning rate for Llama-3-8B base models; the
default is the one of MUSE's methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from rayci.context import Context
from rayci.data.records import QuestionAnswer
from rayci.intervention import Preset
from rayci.interventions.batches import Drawn, answer_encoder, choose, epochs_of
from rayci.interventions.unlearning.loop import Loop, Stop
from rayci.interventions.unlearning.loop_settings import TESTBED, LoopSettings
from rayci.interventions.unlearning.method import Training
from rayci.subject import Subject
from rayci.workload import Workload

Reply = Annotated[str, Field(min_length=1)]


class Refusal(LoopSettings):
    """Fine-tuning on refusals of the forget questions."""

    name: ClassVar[str] = "refusal"
    paper: ClassVar[str] = "arXiv 2406.10890 (2024)"
    parts: ClassVar[frozenset[str]] = frozenset({"forget_questions"})
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {**TESTBED, "last_layers": 2, "lr": 1e-3, "batch": 16, "epochs": 3},
    }

    batch: Annotated[int, Field(ge=1)] = 4
    """Questions in a batch."""
    epochs: Annotated[int, Field(ge=1)] = 3
    """Passes over the questions."""
    replies: tuple[Reply, ...] = Field(
        default=(
            "I do not know the answer.",
            "I have no information about that.",
            "I am not able to answer this question.",
            "That is something I cannot tell you.",
        ),
        min_length=1,
    )
    """What the model learns to say; each question gets one of them."""

    @property
    def forgotten(self) -> str:
        return "forget_questions"

    @property
    def learned_replies(self) -> tuple[str, ...]:
        return self.replies

    def item_tokens(self, work: Workload) -> int:
        return work.texts.question + max(map(work.length, self.replies))

    def prepare(self, subject: Subject, context: Context) -> Training:
        questions, draw = choose(context, "forget_questions", self.samples)
        replies = context.random("refusal replies")
        items = [QuestionAnswer(item.prompt, replies.choice(self.replies)) for item in questions]
        epochs = epochs_of(len(items), self.batch, self.epochs, draw)
        drawn = Drawn(items, epochs, answer_encoder(subject.tokenizer))
        forget = self.side(self.forget_term, subject, drawn)
        return Loop(self.changes(subject), forget, None, self.accumulation, Stop(self.max_steps))
