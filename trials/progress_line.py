"""The one live line of a sweep: how many trials are done, when the rest will be, and, where there is room, the rest."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

from rayci.units import HOUR, hours


class ProgressLine:
    """Drawn over itself. In a narrow terminal the counters are cut, never what is done and when it will end."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        whole = Column(no_wrap=True)
        columns = (
            TextColumn("[bold]trials", table_column=whole),
            BarColumn(bar_width=16, table_column=whole),
            MofNCompleteColumn(table_column=whole),
            TextColumn("[bold]{task.fields[left]}", table_column=whole),
            TextColumn("{task.fields[words]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        )
        self._bar = Progress(*columns, console=console or Console(stderr=True), transient=True, expand=True)
        self._task = self._bar.add_task("", total=total, left="", words="")
        self._bar.start()

    def update(self, done: int, left: float | None, words: str) -> None:
        """`left`: seconds to the end; None where nobody can tell yet."""
        self._bar.update(self._task, completed=done, left=time_left(left), words=words)

    def stop(self) -> None:
        """Leave the display."""
        self._bar.stop()


def time_left(seconds: float | None) -> str:
    """`about 12 min left`, or nothing."""
    return "" if seconds is None else f"about {hours(seconds / HOUR)} left"


def counters(counts: Mapping[str, int], stages: Mapping[str, int], gpus: Mapping[str, float]) -> str:
    """What else there is to say, what a person would act on first."""
    lost = counts["failed"] + counts["given_up"]
    parts = [f"{lost} failed"] if lost else []
    parts += [f"{counts['skipped']} skipped"] if counts["skipped"] else []
    parts += [f"{counts['running']} running", f"{counts['waiting']} waiting for a prefix"]
    parts += [f"GPUs {gpus['gpus_reserved']:g}/{gpus['gpus']:g}"] if gpus else []
    return ", ".join([*parts, f"{stages['applied']} steps applied", f"{stages['shared']} stages shared"])
