"""Files of a data set from the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rayci.errors import DataError, RequestError
from rayci.storage import hub_cache


class AbsentDataError(DataError):
    """Data that are not on this machine; they may lie on another one, or be fetched."""


def snapshot(repository: str, revision: str | None, patterns: Sequence[str], *, fetch: bool) -> tuple[Path, str]:
    """(folder, commit) of one revision, see `rayci.storage.hub_cache`; AbsentDataError or DataError in place of its."""
    try:
        return hub_cache.snapshot(repository, "dataset", revision, patterns, fetch=fetch)
    except hub_cache.Absent as error:
        raise AbsentDataError(error.problem, at=error.at, allowed=error.allowed, hint=error.hint) from None
    except RequestError as error:
        raise DataError(error.problem, at=error.at, allowed=error.allowed, hint=error.hint) from None
