"""What is kept of an exception: one line for a row, the traceback for whoever looks for the cause."""

from __future__ import annotations

import traceback

from rayci.errors import RayciError

LONGEST = 20_000
"""Characters of a traceback that are kept, the last ones: a recursion without end has thousands of frames."""

NO_MORE = "there is no more to be had"
"""Why a trial gets no more memory, where nobody says anything more exact."""


def reason_of(error: Exception) -> str:
    """An error in one line; foreign ones with their type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, RayciError) else f"{type(error).__name__}: {text}"


def out_of_memory_for_good(error: Exception, no_more: str) -> str:
    """The same where memory did not suffice, and `no_more` says why the trial gets no more of it."""
    return f"out of memory, and {no_more}: {reason_of(error)}"


def traceback_of(error: Exception) -> str:
    """Where an error came from, as Python prints it."""
    return "".join(traceback.format_exception(error))[-LONGEST:]
