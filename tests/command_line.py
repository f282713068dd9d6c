"""`rayci …` in the process of the test: a process of its own takes seconds to import what is loaded here already."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from rayci.commands import cli


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def rayci(*arguments: str) -> Said:
    """Run a command to its end."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with patch.object(sys, "argv", ["rayci", *arguments]), redirect_stdout(out), redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
    return Said(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())
