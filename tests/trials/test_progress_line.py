"""The live line at several widths: what is done and when it will end are whole, the counters take what is left."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from rayci.trials.progress_line import ProgressLine, counters, time_left

COUNTS = {"total": 107_523, "done": 50_321, "running": 128, "waiting": 4096, "failed": 12, "given_up": 3}
COUNTS |= {"skipped": 2}
STAGES = {"applied": 212_345, "measured": 0, "shared": 98_765}
GPUS = {"gpus_reserved": 127.5, "gpus": 128.0}


def drawn(width: int) -> str:
    """The last line that a terminal of this width shows."""
    screen = StringIO()
    line = ProgressLine(COUNTS["total"], Console(file=screen, force_terminal=True, width=width, color_system=None))
    line.update(COUNTS["done"], 3.5 * 3600, counters(COUNTS, STAGES, GPUS))
    line._bar.refresh()
    shown = screen.getvalue().split("\r")[-1]
    line.stop()
    return shown.replace("\x1b[2K", "").replace("\x1b[?25l", "").rstrip()


@pytest.mark.parametrize("width", [80, 60, 160])
def test_the_end_is_in_sight_at_every_width(width: int) -> None:
    shown = drawn(width)
    assert len(shown) <= width and "\n" not in shown
    assert "50321/107523" in shown
    assert "about 3.5 h left" in shown


def test_failures_are_seen_first_and_everything_where_there_is_room() -> None:
    assert "15 failed" in drawn(80)
    counts = "15 failed, 2 skipped, 128 running, 4096 waiting for a prefix, GPUs 127.5/128"
    assert f"{counts}, 212345 steps applied, 98765 stages shared" in drawn(200)


def test_words() -> None:
    idle = {**dict.fromkeys(COUNTS, 0), "running": 2}
    assert counters(idle, dict.fromkeys(STAGES, 0), {}) == (
        "2 running, 0 waiting for a prefix, 0 steps applied, 0 stages shared"
    )
    assert (time_left(None), time_left(720)) == ("", "about 12 min left")
