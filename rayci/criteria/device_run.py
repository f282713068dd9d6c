"""What generating costs on the device that ran: seconds a token, and the most memory held.

The workload is the same for every model and stage, whatever it says: one row of `prompt_tokens` made-up token ids is
read in one pass, the last position alone projected onto the vocabulary, and `new_tokens` more are fed one at a time
with the keys and values of those before.

    latency = median over `repeats`, after a first run that does not count, of time / new_tokens
    peak_memory = most bytes held during a run

Weights count as they lie there: a compressed model is stored dense here, so that its latency is that of the dense
weights unless a kernel makes use of zeros. The clock differs from run to run: no two readings are equal.
"""

from __future__ import annotations

import statistics
import time
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from rayci.context import Context
from rayci.criteria.evaluation.scored_positions import projecting
from rayci.criterion import Criterion, Reading
from rayci.effort import Effort
from rayci.errors import Inapplicable
from rayci.kinds import Direction, Scale
from rayci.model.peak_memory import PeakMemory
from rayci.subject import Subject
from rayci.workload import Workload


class _DeviceRun(Criterion):
    repeatable: ClassVar[bool] = False

    prompt_tokens: Annotated[int, Field(ge=1)] = 128
    """Tokens read in one pass; fewer where they and `new_tokens` are more than the model's context."""
    new_tokens: Annotated[int, Field(ge=1)] = 32
    """Tokens fed one at a time after it."""

    def operations(self, work: Workload) -> Effort:
        """A run."""
        return work.forward_operations(self.prompt_tokens, passes=1) + work.writing_operations(1, self.new_tokens)

    def memory(self, work: Workload) -> int:
        """The pass over the prompt, keys and values of all tokens, and the logits of one."""
        tokens = self.prompt_tokens + self.new_tokens
        return work.forward_bytes(self.prompt_tokens) + work.cache_bytes(tokens) + work.logit_bytes(1)

    def ids(self, subject: Subject) -> Tensor:
        """Token ids of the prompt and what is fed after it, `[1, tokens]`."""
        tokens = min(self.prompt_tokens + self.new_tokens, subject.context_length)
        if tokens <= self.new_tokens:
            raise Inapplicable(f"{self.new_tokens} tokens and a prompt are more than the context of {tokens}")
        return torch.arange(tokens, device=subject.device).remainder(subject.vocabulary).unsqueeze(0)

    @torch.no_grad()
    def run(self, subject: Subject, ids: Tensor) -> None:
        """The workload once; it is done when this returns."""
        prompt = ids.shape[1] - self.new_tokens
        model: Any = subject.model
        with projecting(subject.model, torch.tensor([prompt - 1])):
            output = model(input_ids=ids[:, :prompt], use_cache=True)
        for place in range(prompt, ids.shape[1]):
            past = output.past_key_values
            output = model(input_ids=ids[:, place : place + 1], past_key_values=past, use_cache=True)
        if subject.device.type == "cuda":
            torch.cuda.synchronize()


class Latency(_DeviceRun):
    """Seconds for each token of a fixed generation, its share of the prompt included."""

    name: ClassVar[str] = "latency"
    scale: ClassVar[Scale] = Scale(Direction.LOWER, 0.0, None, None, "seconds per token")

    repeats: Annotated[int, Field(ge=1)] = 5
    """How often it runs after a first time that does not count."""

    def operations(self, work: Workload) -> Effort:
        return (1 + self.repeats) * super().operations(work)

    def measure(self, subject: Subject, context: Context) -> Reading:
        ids, seconds = self.ids(subject), []
        self.run(subject, ids)
        for _ in range(self.repeats):
            start = time.perf_counter()
            self.run(subject, ids)
            seconds.append((time.perf_counter() - start) / self.new_tokens)
        return Reading(statistics.median(seconds), self.repeats)


class PeakBytes(_DeviceRun):
    """Most bytes on the GPUs during a fixed generation, weights included; skipped where there is no GPU."""

    name: ClassVar[str] = "peak_memory"
    scale: ClassVar[Scale] = Scale(Direction.LOWER, 0.0, None, None, "bytes")

    def measure(self, subject: Subject, context: Context) -> Reading:
        with PeakMemory(subject.device) as peak:
            self.run(subject, self.ids(subject))
        if peak.bytes is None:
            raise Inapplicable(f"memory is counted on GPUs, the model is on {subject.device.type}")
        return Reading(float(peak.bytes), 1)
