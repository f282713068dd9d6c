"""Files beside what a verb prints: `--also csv,md,tex,json`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayci.commands.options import listed
from rayci.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd

    from rayci.analysis.text.tables import Pivot

FORMATS = ("csv", "md", "tex", "json")

AlsoOption = Annotated[list[str] | None, typer.Option("--also", help=f"Write files as well: {','.join(FORMATS)}.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Their folder.", show_default="the run's")]


@dataclass(frozen=True)
class Beside:
    """A table that can be written."""

    stem: str
    """Of its files: `wins` for `wins.csv`."""
    frame: pd.DataFrame
    """What csv and json hold."""
    pivot: Callable[[], Pivot]
    """Makes what md and tex hold, the table for people; nobody else waits for it."""


@dataclass(frozen=True)
class Files:
    """Where tables are written besides, and as what."""

    folder: Path
    formats: Sequence[str]

    @staticmethod
    def asked(also: Sequence[str] | None, target: Path | None, source: str) -> Files:
        """As `--also` and `--out` say; RequestError for what cannot be written, or not there. Writes nothing."""
        names = listed(also)
        for name in names:
            if name not in FORMATS:
                raise RequestError(f"cannot write {name!r}", at="--also", allowed=", ".join(FORMATS))
        return Files(folder_of_files(target, source) if names else Path.cwd(), names)

    def write(self, *tables: Beside) -> None:
        """Write every table in every format; each file is complete under its name, or not there."""
        from rayci.storage.atomic import replacing

        for table in tables:
            for name in self.formats:
                with replacing(self.folder / f"{table.stem}.{name}") as temporary:
                    temporary.write_text(_text(table, name), encoding="utf-8")


def folder_of_files(target: Path | None, source: str) -> Path:
    """Where files about a table go: the folder asked for, else the run's, else the working folder."""
    from rayci.storage.user_paths import folder_to_write

    return folder_to_write(target or (source if Path(source).is_dir() else Path.cwd()), "--out")


def _text(table: Beside, name: str) -> str:
    from rayci.analysis.text import tables

    if name in tables.OF_FRAMES:
        return tables.OF_FRAMES[name](table.frame)
    return tables.OF_PIVOTS[name](table.pivot())
