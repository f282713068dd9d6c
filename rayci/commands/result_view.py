"""What a table says, as text: in which order, and the composability behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from rich.table import Table

from rayci.commands.beside import Beside
from rayci.commands.console import Format, out, plain, say

if TYPE_CHECKING:
    import pandas as pd

    from rayci.analysis.answering.which_order import WhichOrder
    from rayci.analysis.text.tables import Pivot
    from rayci.table import ResultTable


def print_answer(answer: WhichOrder, *, wide: bool = False, most: int | None = None) -> None:
    """In which order? First in words, then as tables of at most `most` rows each."""
    from rayci.analysis.answering.order_tables import gaps, pivots

    for sentence in answer.sentences:
        say(sentence)
    if answer.sentences:
        out.print()
    for title, pivot in pivots(answer, wide=wide).items():
        print_pivot(pivot, title, most)
    for note in gaps(answer):
        say(note, "dim")
    if not answer.sentences and not answer.endings:
        say("No composition to compare.")


def print_which_order(
    answer: WhichOrder, table: ResultTable, source: str, format: Format, criteria: Sequence[str], *, wide: bool
) -> None:
    """The composability behind an answer, and for people what comes back of what was unlearned, and the answer."""
    if format is not Format.TABLE:
        print_frames(answer, format, wide=wide)
        return
    print_composability(answer, source, wide=wide)
    print_knowledge(table, criteria)
    print_answer(answer, wide=wide)


def print_composability(answer: WhichOrder, source: str, *, wide: bool = False) -> None:
    """Order-free error and order sensitivity of every set of methods that has one.

    A row for each set where that fits; else, and with `wide`, a line for each criterion with its intervals.
    """
    from rayci.analysis.text import tables

    for frame in answer.frames.values():
        if not frame["n_points"].any():
            continue
        compact = tables.pivot(frame)
        cells = ("Cells: order-free error | order sensitivity.", compact.notes[0])  # reasons stand below the answer
        short = not wide and fits(compact)
        pivot = replace(compact, notes=cells) if short else tables.with_intervals(frame)
        print_pivot(pivot, f"Composability of {source}{answer.where}")


def print_knowledge(table: ResultTable, criteria: Sequence[str] = ()) -> bool:
    """What comes back of what was unlearned, and how robust unlearners are; returns whether there was anything."""
    from rayci.analysis.text import robustness_pivot, still_known

    known = list(still_known.knowledge_tables(table, criteria))
    _print_titled("What comes back", known, still_known.LEGEND)
    robust = list(robustness_pivot.robustness_tables(table, criteria))
    _print_titled("How robust unlearning is", robust, robustness_pivot.LEGEND)
    return bool(known)


def _print_titled(about: str, shown: Sequence[tuple[str, Pivot]], legend: str) -> None:
    """Tables of several criteria under one legend."""
    for title, pivot in shown:
        out.print(f"[bold]{about}: {plain(title)}[/bold]", soft_wrap=True)
        print_pivot(pivot)
    if shown:
        say(legend, "dim")
        out.print()


def print_frames(answer: WhichOrder, format: Format, *, wide: bool) -> None:
    """The composability tables of all sizes as one, as CSV or JSON."""
    from rayci.analysis.text import tables

    _print_frame(tables.stacked(answer.frames.values()), format, all_columns=wide)


def print_wins(counted: pd.DataFrame, at: str, format: Format) -> None:
    """Who is the most composable of its category how often, from `rayci.analysis.wins`."""
    from rayci.analysis.text.win_pivot import win_pivot

    if format is not Format.TABLE:
        _print_frame(counted, format)
    elif len(counted):
        print_pivot(win_pivot(counted), f"Wins within each category, read at {at}")
    else:
        say("No category holds two methods with a partner in both orders: nobody to win against.")


def print_rules(rules: pd.DataFrame, source: str, format: Format) -> None:
    """Which ordering rules hold, from `rayci.analysis.rules`."""
    from rayci.analysis.text.rules_pivot import rules_pivot

    if format is Format.TABLE:
        print_pivot(rules_pivot(rules), f"Ordering rules of the literature in {source}")
    else:
        _print_frame(rules, format)


def _print_frame(frame: pd.DataFrame, format: Format, *, all_columns: bool = True) -> None:
    """Any frame as CSV or JSON, for programs."""
    from rayci.analysis.text import tables

    print(tables.OF_FRAMES[format](frame, all_columns), end="")


def composability_beside(answer: WhichOrder) -> Beside:
    """The composability tables of all sizes as one that can be written."""
    from rayci.analysis.text import tables

    frame = tables.stacked(answer.frames.values())
    return Beside("composability", frame, partial(tables.composability_pivot, frame))


def wins_beside(counted: pd.DataFrame) -> Beside:
    """The wins as a table that can be written."""
    from rayci.analysis.text.win_pivot import win_pivot

    return Beside("wins", counted, partial(win_pivot, counted))


def rules_beside(rules: pd.DataFrame) -> Beside:
    """The ordering rules as a table that can be written."""
    from rayci.analysis.text.rules_pivot import rules_pivot

    return Beside("ordering_rules", rules, partial(rules_pivot, rules))


def print_pivot(pivot: Pivot, title: str = "", most: int | None = None) -> None:
    """A table with its notes; of more than `most` rows the first, and how many are left out."""
    if title:
        say(title, "bold")  # rich would wrap it to the width of the table
    out.print(_drawn(pivot, most), crop=False)
    if most is not None and len(pivot.rows) > most:
        say(f"… and {len(pivot.rows) - most} more rows: rayci metrics RUN, or the report")
    for note in pivot.notes:
        say(note, "dim")
    out.print()


def fits(pivot: Pivot) -> bool:
    """Whether the terminal is wide enough for it, nothing wrapped."""
    return _width(_columns(pivot)) <= out.width


def _drawn(pivot: Pivot, most: int | None) -> Table:
    """The table as wide as it is, else with its words wrapped; never with a number cut off.

    Where even that leaves no room it is wider than the terminal, which wraps its lines.
    """
    columns = _columns(pivot)
    width = _width(columns)
    narrow = sum(column.least for column in columns) + len(columns) - 1 <= out.width
    tight = narrow and width > out.width
    drawn = Table(box=None, pad_edge=False)
    drawn.collapse_padding = tight
    drawn.width = None if narrow else width
    for column in columns:
        name = "\n".join(column.heading_words) if tight and column.whole else column.heading
        drawn.add_column(plain(name), justify="left" if column.words else "right", no_wrap=column.whole)
    for row in pivot.rows[:most]:
        drawn.add_row(*map(plain, row))
    return drawn


def _columns(pivot: Pivot) -> list[_Column]:
    cells = [tuple(row[place] for row in pivot.rows) for place in range(len(pivot.header))]
    return [_Column(name.replace("_", " "), cells[place], place == 0) for place, name in enumerate(pivot.header)]


def _width(columns: Sequence[_Column]) -> int:
    """Of a table in which nothing is wrapped."""
    return sum(column.natural for column in columns) + 2 * (len(columns) - 1)


@dataclass(frozen=True)
class _Column:
    heading: str
    cells: tuple[str, ...]
    first: bool

    @property
    def heading_words(self) -> list[str]:
        return self.heading.replace(" | ", "|").split()

    @property
    def words(self) -> bool:
        return any(char.isalpha() and char != "e" for cell in self.cells for char in cell)  # 1.0e+31 is a number

    @property
    def whole(self) -> bool:
        """Whether its cells must not be wrapped: numbers, and names that leave room for the rest."""
        return not self.words or (self.first and max(map(len, self.cells), default=0) <= out.width // 3)

    @property
    def natural(self) -> int:
        return max(map(len, (self.heading, *self.cells)))

    @property
    def least(self) -> int:
        parts = [*self.heading_words, *(self.cells if self.whole else " ".join(self.cells).split())]
        return max(map(len, parts), default=0)
