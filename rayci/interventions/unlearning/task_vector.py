"""Task vector: learn the forget text, then go the other way.

    θ ← θ − a·(θ_ft − θ),  θ_ft = θ fine-tuned on the forget text by min CE(forget)

arXiv 2212.04089, as in MUSE (arXiv 2407.06460), whose scripts take a = 5. Differences are taken in
fp32 between the weights as trained (under `storage: bfloat16` both ends are what bf16 holds) and
those before training, which wait in host memory. Under `parametrisation: lora` the task vector is (α/r)·B·A.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from rayci.context import Context
from rayci.intervention import Preset, Strength
from rayci.interventions.batches import Drawn, choose, epochs_of, text_encoder
from rayci.interventions.trainer import Trainer
from rayci.interventions.unlearning.loop import Loop, Stop
from rayci.interventions.unlearning.loop_settings import BOOKS, NEWS, TESTBED, LoopSettings
from rayci.interventions.unlearning.method import Training
from rayci.subject import Subject
from rayci.workload import Workload


class TaskVector(LoopSettings):
    """Subtraction of what fine-tuning on the forget text adds."""

    name: ClassVar[str] = "task_vector"
    paper: ClassVar[str] = "arXiv 2212.04089 (2022)"
    strength: ClassVar[Strength | None] = Strength("scale", "times the task vector", 0, 100, (1, 2, 5, 10))
    presets: ClassVar[Mapping[str, Preset]] = {
        "testbed": {
            **TESTBED,
            "last_layers": 2,
            "lr": 1e-3,
            "samples": 192,
            "batch": 4,
            "epochs": 1,
            "max_tokens": 256,
        },
        "muse_news": NEWS,
        "muse_books": BOOKS,
    }

    scale: Annotated[float, Field(gt=0, le=100)] = 5.0
    """γ: a, how far the weights go away from the fine-tuned ones, in units of the task vector."""
    max_tokens: Annotated[int, Field(ge=2)] = 2048
    """Longer documents are cut."""

    def item_tokens(self, work: Workload) -> int:
        return work.cut(self.max_tokens)

    def waiting_memory(self, work: Workload, names: Collection[str]) -> int:
        """And the weights as they were."""
        return super().waiting_memory(work, names) + work.element * work.elements(names)

    def prepare(self, subject: Subject, context: Context) -> Training:
        items, draw = choose(context, "forget", self.samples)
        epochs = epochs_of(len(items), self.batch, self.epochs, draw)
        drawn = Drawn(items, epochs, text_encoder(subject, self.max_tokens))
        forget = self.side(self.forget_term, subject, drawn)
        learning = Loop(self.changes(subject), forget, None, self.accumulation, Stop(self.max_steps))
        return _Negation(learning, self.scale)


@dataclass
class _Negation(Training):
    """A fine-tuning, turned round at its end."""

    learning: Loop
    scale: float

    def __post_init__(self) -> None:
        self.names = self.learning.names

    def forget_gradients(self) -> int:
        return self.learning.forget_gradients()

    def run(self, trainer: Trainer) -> dict[str, float]:
        start = trainer.start()
        counts = self.learning.run(trainer)
        trainer.rescale(start, -self.scale)
        return counts
