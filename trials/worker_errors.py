"""Errors of workers that could not start: one may be its node's, the same one from two is everybody's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rayci.errors import RayciError, RequestError

FILE = "worker-error.txt"
"""In the run folder: the traceback of the error that stopped a sweep."""


class Faults:
    """What workers said before they ended, by text."""

    def __init__(self) -> None:
        self._workers: dict[str, set[tuple[str, int]]] = {}

    def shared(self, result: Mapping[str, Any]) -> bool:
        """Whether a second worker could not start for the same reason."""
        workers = self._workers.setdefault(result["fault"], set())
        workers.add((result["host"], result["worker"]))
        return len(workers) > 1


def stopping(result: Mapping[str, Any]) -> RayciError:
    """The error that ends a sweep whose workers do not start."""
    problem, where = f"no trial can start: {result['fault']}", f"{FILE} in the run folder has the traceback"
    if result["refused"]:
        return RequestError(problem, hint=f"{where}; mended, the same command continues")
    return RayciError(f"{problem}; {where}; mended, the same command continues")
