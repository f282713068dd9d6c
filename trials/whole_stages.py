"""Which stages of a run have their rows and items: every file is looked at; what is not whole is set aside."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from rayci import item_values, table
from rayci.errors import CorruptionError
from rayci.planning.plan import Plan
from rayci.planning.sweep import Sweep
from rayci.running.rows import fault, items_fault
from rayci.storage.compaction import COMPACTED, by_stage, files_of
from rayci.table import Part

if TYPE_CHECKING:
    from rayci.trials.run_folder import RunFolder

LOST = "the worker died in this stage, and died again when it was retried"
"""Reason of rows that the same command tries to replace."""

_TOLD = 10
"""Files set aside that have a note of their own."""

T = TypeVar("T")


@dataclass
class WholeStages:
    """One look at a run folder that another process no longer writes to."""

    sweep: Sweep
    plan: Plan
    folder: RunFolder
    _aside: list[str] = field(default_factory=list)

    def done(self) -> set[str]:
        """Stages whose rows and items are on disk.

        A file that is damaged, of another sweep or of another stage is set aside and counts for nothing. A stage that
        a worker died in is not done either: what killed it may be gone, unlike a method's failure.
        """
        items = self._whole(self.folder.items, _items_by_stage)
        rows = self._whole(self.folder.parts, _rows_by_stage)
        if (everything := self.folder.items / COMPACTED).exists():  # in which a stage without items has no row
            items = dict.fromkeys(rows, (everything, item_values.SCHEMA.empty_table())) | items
        faults: dict[Path, str] = {}
        died, lost, done = set(), set(), set()
        for name, (path, part) in rows.items():
            if reason := fault(self.sweep, self.plan.stages[name], part):
                faults.setdefault(path, reason)
            elif any(LOST in (reason or "") for reason in part.rows.column("reason").unique().to_pylist()):
                died.add(name)
            elif name not in items:
                lost.add(name)
            elif reason := items_fault(self.sweep, self.plan.stages[name], part, items[name][1]):
                faults.setdefault(items[name][0], reason)
            else:
                done.add(name)
        for path, reason in faults.items():
            self._set_aside(path, reason)
        self.folder.forget(died)
        for name in died:
            self.folder.open_store().forget(name)
        done = {name for name in done if not faults.keys() & {rows[name][0], items[name][0]}}
        return done | self._without_items({name for name in lost if rows[name][0] not in faults})

    def note(self) -> None:
        """Say in the folder's notes what was set aside."""
        self.folder.notes += self._aside[:_TOLD]
        if len(self._aside) > _TOLD:
            self.folder.notes.append(f"{len(self._aside) - _TOLD} more files were set aside in {self.folder.aside}")

    def _whole(self, folder: Path, read: Callable[[Path], dict[str, T]]) -> dict[str, tuple[Path, T]]:
        """What is of a stage of the plan in the files that can be read, each with its file; others are set aside."""
        whole: dict[str, tuple[Path, T]] = {}
        for path in files_of(folder):
            try:
                if path.name != COMPACTED and path.stem not in self.plan.stages:
                    raise CorruptionError(f"{path}: not a stage of this sweep")
                stages = read(path)
                if not stages.keys() <= self.plan.stages.keys():
                    raise CorruptionError(f"{path}: holds stages that are not of this sweep")
                whole |= {name: (path, own) for name, own in stages.items()}
            except CorruptionError as error:
                self._set_aside(path, str(error))
        return whole

    def _without_items(self, stages: set[str]) -> set[str]:
        """Those of the stages with rows and no items that count as done: all, where the run is older than items."""
        folder = self.folder
        if stages and folder.older_than_items():
            folder.notes.append(f"{len(stages)} stages have {item_values.NONE_KEPT}; another --out measures them anew")
            return stages
        folder.forget(stages)
        if stages:
            lost = f"{len(stages)} stages had lost their file in {folder.items}"
            folder.notes.append(f"{lost}: their rows are written again")
        return set()

    def _set_aside(self, path: Path, reason: str) -> None:
        """Move a file to where nobody reads it, and forget its stage if it has one."""
        target = self.folder.aside / f"{uuid.uuid4().hex[:8]}-{path.name}"
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
        if path.stem in self.plan.stages:
            self.folder.forget([path.stem])
        where = "" if str(path) in reason else f"{path}: "
        self._aside.append(f"{where}{reason}; it was set aside as {target.relative_to(self.folder.root)}")


def _rows_by_stage(path: Path) -> dict[str, Part]:
    part = table.read_part(path)
    if path.name != COMPACTED:
        return {path.stem: part}
    return {stage: replace(part, rows=rows) for stage, rows in by_stage(part.rows).items()}


def _items_by_stage(path: Path) -> dict[str, pa.Table]:
    rows = item_values.read_part(path)
    return by_stage(rows) if path.name == COMPACTED else {path.stem: rows}
