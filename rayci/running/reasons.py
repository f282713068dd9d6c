"""What is kept of an exception: one line for a row, the traceback for whoever looks for the cause."""

from __future__ import annotations

import traceback

from rayci.errors import RayciError

LONGEST = 20_000
"""Characters of a traceback that are kept, the last ones: a recursion without end has thousands of frames."""


def reason_of(error: Exception) -> str:
    """An error in one line; foreign ones with their type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, RayciError) else f"{type(error).__name__}: {text}"


def traceback_of(error: Exception) -> str:
    """Where an error came from, as Python prints it."""
    return "".join(traceback.format_exception(error))[-LONGEST:]
