"""Specs of when `wmdp` and `mmlu` named any hazardous and general questions: `hazard` and `utility` do now."""

from __future__ import annotations

from collections.abc import Mapping

from rayci.data.records import Collection
from rayci.planning.spec import Spec

_ANY_QUESTIONS: Mapping[str, str] = {"wmdp": "hazard", "mmlu": "utility"}
"""Published data set -> the criterion over the part of that name, whatever its questions are."""
_MARKS: Mapping[str, str] = {"wmdp": "topic", "mmlu": "subject"}
"""Published data set -> what every one of its questions carries."""


def with_todays_names(spec: Spec, data: Collection) -> tuple[Spec, tuple[str, ...]]:
    """The spec with `hazard` for `wmdp` and `utility` for `mmlu` where no question is from there, and notes on it."""
    todays = {
        old: new
        for old, new in _ANY_QUESTIONS.items()
        if old in spec.criteria and new not in spec.criteria and _is_other(getattr(data, new), _MARKS[old])
    }
    if not todays:
        return spec, ()
    criteria = {todays.get(name, name): settings for name, settings in spec.criteria.items()}
    notes = tuple(
        f"{old} is measured as {new}: these questions carry no {_MARKS[old]}, so they are not {old.upper()}'s"
        for old, new in todays.items()
    )
    return spec.model_copy(update={"criteria": criteria}), notes


def _is_other(questions: tuple[object, ...], mark: str) -> bool:
    return bool(questions) and not any(getattr(question, mark) for question in questions)
