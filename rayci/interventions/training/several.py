"""What `ties` and `dare` share: several sources, each with a weight."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from rayci.interventions.training.adding import SOURCE, Merging


class MergingSeveral(Merging):
    """A method that merges the differences of several sources."""

    source_field: ClassVar[str] = "sources"
    example: ClassVar[str] = "[runs/finetuned, owner/adapter]"

    sources: Annotated[tuple[str, ...], SOURCE] = ()
    """Folders, or hub ids `owner/name[@revision]`, of what is merged; must be given. Their content is in the
    fingerprint, where they lie is not."""
    weights: tuple[Annotated[float, Field(gt=0, le=100)], ...] = ()
    """One for each source, in their order; none: 1 each."""
    scale: Annotated[float, Field(ge=-100, le=100)] = 1.0
    """λ: how much of the merged difference is added, below 0 the opposite of it."""

    @model_validator(mode="after")
    def _a_weight_for_each(self) -> Self:
        if self.weights and len(self.weights) != len(self.sources):
            raise ValueError(f"weights has {len(self.weights)} numbers, sources {len(self.sources)} names")
        if len(set(self.sources)) < len(self.sources):
            raise ValueError("sources names one twice: give it a larger weight")
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """The weight of every source."""
        return self.weights or (1.0,) * len(self.sources)
