"""Where a model comes from: what its card tells and its `reproduce.yaml` repeats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayci.intervention import Applied, Intervention
from rayci.kinds import Direction
from rayci.model.folder import on_the_hub
from rayci.planning.composition import Step, join
from rayci.subject import Subject
from rayci.testbed import checkpoint

FINGERPRINT_SHOWN = 16
"""Digits of a stage's fingerprint that a command names."""


@dataclass(frozen=True)
class Value:
    """One criterion of the card."""

    criterion: str
    direction: Direction
    value: float
    stderr: float | None
    n: int | None
    untouched: float | None = None
    """The untouched model's value, where it is known."""


@dataclass(frozen=True)
class Origin:
    """The base model and what was done to it."""

    base: str
    """`testbed`, a hub id, or a folder's name; empty where nobody knows."""
    chain: str
    """Everything that was applied, re-compression included; empty for the untouched model."""
    steps: tuple[Applied, ...]
    values: tuple[Value, ...] = ()
    """Readings of the model, where it was measured."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """`model` and `stage` -> fingerprint; empty outside of sweeps."""
    draws: str = ""
    """Which edit batch and seed made it, where it depends on them."""
    reproduce: str | None = None
    """The spec that makes the stage again, as YAML; None outside of sweeps, where nobody knows the data's files."""

    @classmethod
    def of(cls, subject: Subject) -> Origin:
        """What a subject itself knows."""
        name = str(getattr(subject.model, "name_or_path", "") or "")
        return cls(base_name(name), join(map(_text, subject.applied)), tuple(subject.applied))

    @property
    def hub_id(self) -> str | None:
        """The base model's name on the hub, without a revision; None where it is not there."""
        return self.base.partition("@")[0] if on_the_hub(self.base) else None


def base_name(model: str) -> str:
    """What to call a base model where others read it: of a folder the last part, for it says where somebody works."""
    if model and Path(model) == checkpoint():
        return "testbed"
    return model if on_the_hub(model) else Path(model).name


def settings_of(steps: Iterable[Applied]) -> list[tuple[str, str, dict[str, Any]]]:
    """(step, kind, effective settings) of every step; folders by their names beside their content."""
    return [(_text(step), step.intervention.kind.value, _settings(step.intervention)) for step in steps]


def _settings(method: Intervention) -> dict[str, Any]:
    said = method.effective()
    return said | {name: _with_names(getattr(method, name), said[name]) for name in method.folder_marks()}


def _with_names(named: Any, content: Any) -> Any:
    if isinstance(content, list):
        return [_with_names(*one) for one in zip(named, content, strict=True)]
    return content and f"{base_name(named)}, content {content}"


def _text(step: Applied) -> str:
    method = step.intervention
    text = str(Step(method.name, method.asked_at))
    return f"{step.recompression}({text})" if step.recompression else text
