"""How much of a sweep's work is left, in estimated seconds."""

from __future__ import annotations

from collections.abc import Mapping


class Work:
    """Stages that are still to be done, each with its estimate; only ratios matter."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        """`seconds` by stage fingerprint."""
        self._open = dict(seconds)
        self._total = sum(seconds.values())
        self._done = 0.0

    def finish(self, stage: str) -> None:
        """A stage is done; again does not count."""
        self._done += self._open.pop(stage, 0.0)

    def left(self, elapsed: float) -> float | None:
        """Seconds until the end at the rate of the `elapsed` ones; None before the first stage is done."""
        return elapsed * (self._total - self._done) / self._done if self._done > 0 else None
