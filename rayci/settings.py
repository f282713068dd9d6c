"""What the settings of interventions and criteria share: frozen, no unknown keys, documented fields."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict


class Speed:
    """Marks a settings field that changes how fast, never what: it stays out of the fingerprint."""


ForwardBatch = Annotated[int, Speed()]
"""Batch size of forward-only work."""


class Settings(BaseModel):
    """Base of all settings; instances compare by value."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @classmethod
    def speed_fields(cls) -> set[str]:
        """Names of the fields marked `Speed`."""
        fields = cls.model_fields.items()
        return {name for name, info in fields if any(isinstance(mark, Speed) for mark in info.metadata)}

    def effective(self) -> dict[str, Any]:
        """The settings that can change the result: all but those marked `Speed`."""
        return self.model_dump(mode="json", exclude=self.speed_fields())
