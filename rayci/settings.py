"""What the settings of interventions and criteria share: frozen, no unknown keys, documented fields."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Speed:
    """Marks a settings field that changes how fast, never what: it stays out of the fingerprint."""


ForwardBatch = Annotated[int, Speed()]
"""Batch size of forward-only work."""


class Settings(BaseModel):
    """Base of interventions and criteria, which are their settings; instances compare by value."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised when the results change for the same settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @classmethod
    def speed_fields(cls) -> set[str]:
        """Names of the fields marked `Speed`."""
        fields = cls.model_fields.items()
        return {name for name, info in fields if any(isinstance(mark, Speed) for mark in info.metadata)}

    def effective(self) -> dict[str, Any]:
        """The settings that can change the result: all but those marked `Speed`."""
        values = self.model_dump(exclude=self.speed_fields())
        return values | {name: value.effective() for name, value in self if isinstance(value, Settings)}

    def wraps(self) -> tuple[Settings, ...]:
        """Other methods whose code this one runs: those among its settings.

        A method that makes another one from its settings says so by overriding this.
        """
        return tuple(value for _, value in self if isinstance(value, Settings))

    def identity(self) -> dict[str, Any]:
        """All of the method that decides its result: name, version, settings, and the same of what it wraps."""
        return {
            "name": self.name,
            "version": self.version,
            "settings": self.effective(),
            "wraps": [inner.identity() for inner in self.wraps()],
        }
