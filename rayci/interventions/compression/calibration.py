"""Settings that every calibrated compressor shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from rayci.context import Context
from rayci.errors import RequestError
from rayci.intervention import Compressor, Preset
from rayci.settings import ForwardBatch
from rayci.subject import Subject


class Calibrated(Compressor):
    """A compressor that looks at activations on calibration text."""

    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})
    presets: ClassVar[Mapping[str, Preset]] = {"testbed": {"length": 64}}
    longest: ClassVar[int] = 8192
    """Published calibration uses windows of min(context, 8192) tokens."""

    sequences: Annotated[int, Field(ge=1)] = 128
    """Calibration sequences."""
    length: Annotated[int, Field(ge=2)] | None = None
    """Tokens of a sequence; by default min(context, 8192)."""
    forward_batch: Annotated[ForwardBatch, Field(ge=1)] = 8
    """Sequences in one forward pass; changes speed and memory only."""

    def calibration(self, subject: Subject, context: Context) -> Tensor:
        """The calibration tokens, int64 `[sequences, length]`; RequestError where the model cannot read as many."""
        length = self.length or min(subject.context_length, self.longest)
        tokens = context.calibration(subject.tokenizer, self.sequences, length)
        if tokens.shape[1] > subject.context_length:
            raise RequestError(
                f"{self.name}: calibration sequences of {tokens.shape[1]} tokens do not fit the model's context",
                allowed=f"length: 2 to {subject.context_length}",
            )
        return tokens
