"""`python -m rayci`: the command line of this interpreter's rayci."""

from __future__ import annotations

from rayci.commands.cli import main

main()
