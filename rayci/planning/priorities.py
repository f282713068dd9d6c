"""Which trials start first: those of the compositions that a spec names under `compose.first`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from rayci.errors import RequestError, nearest
from rayci.planning.composition import Composition, Step, parse


def priorities(first: Sequence[str]) -> Callable[[str], int]:
    """Composition -> the place of the first pattern that stands for it; what none stands for comes after all."""
    patterns = [parse(text) for text in first]

    def priority(composition: str) -> int:
        asked = parse(composition) if patterns else Composition()
        return next((place for place, pattern in enumerate(patterns) if stands_for(pattern, asked)), len(patterns))

    return priority


def strangers(first: Sequence[str], compositions: Iterable[Composition]) -> Iterator[tuple[int, RequestError]]:
    """Patterns that stand for none of a sweep's compositions, each by its place."""
    known = list(compositions) if first else []
    for place, text in enumerate(first):
        if not any(stands_for(parse(text), asked) for asked in known):
            hint = nearest(text, map(str, known)) or "`rayci plan --trials` lists them"
            yield place, RequestError(f"the sweep has no composition {text!r}", hint=hint)


def stands_for(pattern: Composition, asked: Composition) -> bool:
    """Whether a composition has the pattern's steps, each with the strength and the settings that the pattern names."""
    steps = zip(pattern.steps, asked.steps, strict=False)
    return len(pattern.steps) == len(asked.steps) and all(_agrees(wanted, step) for wanted, step in steps)


def _agrees(wanted: Step, step: Step) -> bool:
    if wanted.method != step.method or wanted.strength not in (None, step.strength):
        return False
    return all(step.settings.get(key) == value for key, value in wanted.settings.items())
