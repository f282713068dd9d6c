"""A third party's intervention: flip the sign of a share of the weights of one projection.

    W_ij ← −W_ij with probability `share`

It stands here as an example and is a poor way to unlearn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from rayci.context import Context
from rayci.errors import RequestError, caught
from rayci.intervention import Intervention, Receipt, Strength
from rayci.interventions.trainer import projection_weights
from rayci.kinds import Kind
from rayci.model import modules
from rayci.subject import Subject
from rayci.workload import Workload


class SignFlip(Intervention):
    """Flips the sign of a share of the weights of one projection."""

    name: ClassVar[str] = "sign_flip"
    kind: ClassVar[Kind] = Kind.UNLEARN
    strength: ClassVar[Strength | None] = Strength("share", "share of weights", 0.0, 1.0, (0.1, 0.2))

    share: Annotated[float, Field(ge=0, le=1)]
    """γ: share of the weights that change sign."""
    layer: Annotated[int, Field(ge=0)] = 1
    """Decoder block, counted from 0."""

    def changes(self, subject: Subject) -> tuple[str, ...]:
        """The weight of one projection."""
        return tuple(projection_weights(subject, [self.layer]))

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        """The block must be one of the model's."""
        return caught(self.changes, subject)

    def operations(self, work: Workload) -> float:
        """A draw, a comparison and a product for each weight."""
        return 3.0 * work.elements(work.changed_by(self))

    def memory(self, work: Workload) -> int:
        """Draws, a mask and the flipped weights."""
        return (4 + 1 + work.element) * work.elements(work.changed_by(self))

    def apply(self, subject: Subject, context: Context) -> Receipt:
        """Draw from the context, change in place, name what changed."""
        weight = modules.weight(modules.linear(subject.block(self.layer), subject.paths.mlp_out))
        drawn = torch.rand(weight.shape, generator=context.generator("sign flip"))
        weight[(drawn < self.share).to(weight.device)] *= -1
        return Receipt(self.changes(subject))
