"""What becomes of an error that nobody foresaw: one message, and its traceback in a file."""

from __future__ import annotations

import os
import tempfile
import traceback

from rayci.errors import RequestError


def unexpected(error: Exception) -> RequestError:
    """The message for such an error. Its traceback goes to a file that its owner alone can read."""
    try:
        number, name = tempfile.mkstemp(prefix="rayci-error-", suffix=".txt")
        with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines(traceback.format_exception(error))
        place = f"the traceback is in {name}"
    except OSError as problem:
        place = f"the traceback could not be kept: {problem.strerror}"
    return RequestError(
        f"unexpected {type(error).__name__}: {error}", at=place, hint="tell the authors of rayci, with that file"
    )
