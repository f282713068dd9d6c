"""Paths that a user names: looked at before anything is read or written there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rayci.errors import RequestError
from rayci.units import size


def path_of(text: Path | str, at: str | None = None) -> Path:
    """The absolute path; it need not exist.

    Raises RequestError for what no file system can answer: an unknown user's home, a circle of
    links, a NUL, a name that is too long, a folder that may not be entered.
    """
    try:
        path = Path(text).expanduser().resolve()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(f"no usable path ({reason}): {str(text)!r}", at=at) from None
    return path


def read_text(path: Path, limit: int, what: str, hint: str, error: type[RequestError] = RequestError) -> str:
    """The text of a regular file of at most `limit` bytes, without its byte order mark.

    Raises `error` ("cannot read {what}: …") for anything else; a pipe or a device is not opened,
    because reading it may never end.
    """
    try:
        reason = _unfit(path.stat(), limit)
        if reason is None:
            return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        reason = "not UTF-8 text"
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
    raise error(f"cannot read {what}: {reason}", at=str(path), hint=hint)


def unreadable(path: Path) -> str | None:
    """Why a file of any size cannot be read to its end; None where it can. A pipe or a device is not opened."""
    try:
        status = path.stat()
        return _unfit(status, status.st_size) or (None if os.access(path, os.R_OK) else "permission denied")
    except OSError as problem:
        return problem.strerror or str(problem)


def folder_to_write(text: Path | str, at: str) -> Path:
    """The absolute path of a folder that is there or can be made; RequestError for any other. Writes nothing."""
    path = path_of(text, at)
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir():
        raise RequestError(f"{there} is a file", at=at, hint="a folder that does not exist yet")
    if not os.access(there, os.W_OK | os.X_OK):
        raise RequestError(f"{there} cannot be written to", at=at, hint="a folder of your own")
    return path


def standing(place: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(path for path in (place, *place.absolute().parents) if path.is_dir())


def _unfit(status: os.stat_result, limit: int) -> str | None:
    if stat.S_ISDIR(status.st_mode):
        return "it is a folder"
    if not stat.S_ISREG(status.st_mode):
        return "it is a pipe or a device, not a file"
    return f"it is larger than {size(limit)}" if status.st_size > limit else None
