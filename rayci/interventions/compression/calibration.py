"""Settings that every calibrated compressor shares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import RequestError, caught
from rayci.intervention import Compressor, Preset
from rayci.settings import ForwardBatch
from rayci.subject import Subject
from rayci.workload import Workload


class Calibrated(Compressor):
    """A compressor that looks at activations on calibration text."""

    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})
    presets: ClassVar[Mapping[str, Preset]] = {"testbed": {"length": 64}}
    longest: ClassVar[int] = 8192
    """Published calibration uses windows of min(context, 8192) tokens."""

    sequences: Annotated[int, Field(ge=1)] = 128
    """Calibration sequences; tokens that are given directly are taken as they are, all of them."""
    length: Annotated[int, Field(ge=2)] | None = None
    """Tokens of a sequence; by default min(context, 8192)."""
    forward_batch: Annotated[ForwardBatch, Field(ge=1)] = 8
    """Sequences in one forward pass; changes speed and memory only."""

    def window(self, context: int) -> int:
        """Tokens of a sequence on a model with this context."""
        return self.length or min(context, self.longest)

    def operations(self, work: Workload) -> Effort:
        """Two passes of the text through every linear, the dense one and the compressed one; one over the weights."""
        tokens, passes = self.sequences * self.window(work.context), self.sequences / self.forward_batch
        return 2 * work.forward_operations(tokens, passes=passes, logits=False) + work.pass_operations()

    def memory(self, work: Workload) -> int:
        return self.held_bytes(work) + max(self.batch_bytes(work), work.pass_bytes())

    def held_bytes(self, work: Workload) -> int:
        """The hidden states of all sequences, and a batch of outputs before it takes the place of its inputs."""
        return (self.sequences + self.forward_batch) * self.window(work.context) * work.hidden * work.element

    def batch_bytes(self, work: Workload) -> int:
        """A batch on its way through a block, and the fp32 copies that observers take of a linear's input."""
        tokens = self.forward_batch * self.window(work.context)
        return work.forward_bytes(tokens) + 8 * tokens * work.inner

    def calibration(self, subject: Subject, context: Context) -> Tensor:
        """The calibration tokens, int64 `[sequences, length]`; DataError where the text is too short."""
        if context.tokens is not None:
            return context.tokens
        return context.calibration(subject.tokenizer, self.sequences, self.window(subject.context_length))

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        yield from super().check(subject, context)
        tokens = context.tokens
        length = self.window(subject.context_length) if tokens is None else max(tokens.shape[1:], default=0)
        if length > subject.context_length:
            yield RequestError(
                f"{self.name}: calibration sequences of {length} tokens do not fit the model's context",
                allowed=f"length: 2 to {subject.context_length}",
                key=("length",),
            )
        if tokens is None and context.has("calibration") and subject.has_tokenizer:
            yield from caught(self.calibration, subject, context)
