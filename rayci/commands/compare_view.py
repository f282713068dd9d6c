"""What `rayci compare` prints."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from rayci.analysis.text import tables, two_table_pivots
from rayci.commands.beside import Beside
from rayci.commands.console import Format
from rayci.commands.result_view import print_pivot
from rayci.errors import RequestError

if TYPE_CHECKING:
    from rayci.analysis.answering.two_tables import TwoTables

PARTS = ("differences", "correlations", "rules")


def check_part(part: str, format: Format) -> None:
    """RequestError for a part that there is not, or that is asked for where all are shown."""
    if part not in PARTS:
        raise RequestError(f"no part {part!r}", at="--part", allowed=", ".join(PARTS))
    if part != PARTS[0] and format is not Format.CSV:
        raise RequestError("--part chooses a table for CSV", at="--part", hint="table and json hold all parts")


def parts_beside(told: TwoTables) -> list[Beside]:
    """All parts as tables that can be written."""
    pivots = {
        "differences": partial(two_table_pivots.cells_pivot, told.differences),
        "correlations": partial(two_table_pivots.criteria_pivot, told),
        "rules": partial(two_table_pivots.rules_of_two, told.rules, wide=True),
    }
    return [Beside(f"compared_{part}", getattr(told, part), pivots[part]) for part in PARTS]


def print_two_tables(told: TwoTables, title: str, format: Format, part: str, *, wide: bool) -> None:
    """All parts as tables or one JSON object; one part as CSV."""
    if format is Format.CSV:
        print(tables.to_csv(getattr(told, part), all_columns=True), end="")
    elif format is Format.JSON:
        held = {name: json.loads(tables.to_json(getattr(told, name), all_columns=True)) for name in PARTS}
        print(json.dumps({**held, "only_here": told.only_here, "only_there": told.only_there}, indent=1))
    else:
        print_pivot(two_table_pivots.criteria_pivot(told), title)
        if wide:
            print_pivot(two_table_pivots.cells_pivot(told.differences), "Every common cell")
        print_pivot(
            two_table_pivots.rules_of_two(told.rules, wide=wide), "Do the ordering rules of the literature hold?"
        )
