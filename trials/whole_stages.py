"""Which stages of a run have their rows and items: every file is looked at; what is not whole is set aside."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from rayci import item_values, table
from rayci.errors import CorruptionError
from rayci.planning.plan import Plan
from rayci.planning.sweep import Sweep
from rayci.running.asked_readings import lacking, outdated, readings_of
from rayci.running.rows import fault, items_fault
from rayci.storage.compaction import COMPACTED, by_stage, files_of, stage_of
from rayci.storage.parts import ReadingKey
from rayci.table import Part

if TYPE_CHECKING:
    from rayci.trials.run_folder import RunFolder

LOST = "the worker died in this stage, and died again when it was retried"
"""Reason of rows that the same command tries to replace."""

NO_NODE = "no node can hold this trial"
"""How the reason of rows begins that were skipped for it; the same command tries these again, too."""

_TOLD = 10
"""Files set aside that have a note of their own."""

T = TypeVar("T")

Held = dict[str, list[tuple[Path, T]]]
"""By stage: files, and what each holds of the stage."""


@dataclass
class WholeStages:
    """One look at a run folder that another process no longer writes to."""

    sweep: Sweep
    plan: Plan
    folder: RunFolder
    _aside: list[str] = field(default_factory=list)

    def done(self) -> set[str]:
        """Stages whose rows and items are on disk, for every criterion that is asked for.

        A file that is damaged, of another sweep or of another stage is set aside and counts for nothing. What was
        measured with other settings than are asked for now is dropped, and so is what a worker died in or what no
        node could hold: what killed it may be gone, and a larger node may be there, unlike a method's failure.
        """
        items = self._whole(self.folder.items, _items_by_stage)
        rows = self._whole(self.folder.parts, _rows_by_stage)
        if (everything := self.folder.items / COMPACTED).exists():  # in which a stage without items has no row
            items = {name: [(everything, item_values.SCHEMA.empty_table())] for name in rows} | items
        faults = self._faults(rows, items)
        for path, reason in faults.items():
            self._set_aside(path, reason)
        without = {name for name, held in items.items() if faults.keys() & {path for path, _ in held}}
        self.folder.forget(without)
        intact = {name: [each for each in parts if each[0] not in faults] for name, parts in rows.items()}
        intact = {name: parts for name, parts in intact.items() if parts and name not in without}
        lost = intact.keys() - items.keys()
        lost -= self._without_items(lost)
        dropped = self._drop({name: parts for name, parts in intact.items() if name not in lost})
        return {
            name
            for name, parts in intact.items()
            if name not in lost and not self._lacks(name, parts, dropped.get(name, {}))
        }

    def _faults(self, rows: Held[Part], items: Held[pa.Table]) -> dict[Path, str]:
        """Files that can be read and do not hold what their stage should have, each with why."""
        faults: dict[Path, str] = {}
        older = self.folder.older_than_items()
        for name, parts in rows.items():
            stage = self.plan.stages[name]
            own = pa.concat_tables([table for _, table in items[name]]) if name in items and not older else None
            for path, part in parts:
                if reason := fault(self.sweep, stage, part):
                    faults.setdefault(path, reason)
                elif own is not None and (reason := items_fault(self.sweep, stage, part, own)):
                    named = [held for held, _ in items[name] if held.name == path.name]
                    faults.setdefault((named or [items[name][0][0]])[0], reason)
        return faults

    def _drop(self, intact: Held[Part]) -> dict[str, dict[ReadingKey, str]]:
        """Delete the rows that are to be measured anew, by stage; a file with some of other settings is kept aside."""
        old: dict[Path, set[str]] = {}
        dropped: dict[str, dict[ReadingKey, str]] = {}
        for name, parts in intact.items():
            for path, part in parts:
                found = outdated(self.sweep, self.plan.stages[name], part)
                died, unplaced = _with_reason(part, LOST), _with_reason(part, NO_NODE)
                if found:
                    old.setdefault(path, set()).update(found.values())
                if died:
                    self.folder.open_store().forget(name)
                if again := found | died | unplaced:
                    dropped.setdefault(name, {}).update(again)
        for path, criteria in old.items():
            reason = f"its criteria ({', '.join(sorted(criteria))}) were measured with other settings or data"
            self._tell(path, reason, Path(shutil.copy2(path, self._place_for(path))))
        if dropped:
            self.folder.drop(dropped)
        return dropped

    def _lacks(self, name: str, parts: Sequence[tuple[Path, Part]], dropped: Collection[ReadingKey]) -> bool:
        """Whether a stage has not all of its rows."""
        held = {reading for _, part in parts for reading in readings_of(part)} - set(dropped)
        return bool(lacking(self.sweep, self.plan.stages[name], held))

    def note(self) -> None:
        """Say in the folder's notes what was set aside."""
        self.folder.notes += self._aside[:_TOLD]
        if len(self._aside) > _TOLD:
            self.folder.notes.append(f"{len(self._aside) - _TOLD} more files were set aside in {self.folder.aside}")

    def _whole(self, folder: Path, read: Callable[[Path], dict[str, T]]) -> Held[T]:
        """What is of a stage of the plan in the files that can be read, each with its file; others are set aside."""
        whole: Held[T] = {}
        for path in files_of(folder):
            try:
                if path.name != COMPACTED and stage_of(path.name) not in self.plan.stages:
                    raise CorruptionError(f"{path}: not a stage of this sweep")
                stages = read(path)
                if not stages.keys() <= self.plan.stages.keys():
                    raise CorruptionError(f"{path}: holds stages that are not of this sweep")
                for name, own in stages.items():
                    whole.setdefault(name, []).append((path, own))
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
        """Move a file to where nobody reads it, and forget its fellow of the same name."""
        self._tell(path, reason, path.rename(self._place_for(path)))
        if path.name != COMPACTED:
            self.folder.delete(path.name)

    def _place_for(self, path: Path) -> Path:
        self.folder.aside.mkdir(exist_ok=True)
        return self.folder.aside / f"{uuid.uuid4().hex[:8]}-{path.name}"

    def _tell(self, path: Path, reason: str, target: Path) -> None:
        where = "" if str(path) in reason else f"{path}: "
        self._aside.append(f"{where}{reason}; it was set aside as {target.relative_to(self.folder.root)}")


def _with_reason(part: Part, words: str) -> dict[ReadingKey, str]:
    """Readings without a value for a reason in which these words stand, also those of stages after it."""
    reasons = part.rows.column("reason").to_pylist()
    if not any(reason and words in reason for reason in reasons):
        return {}
    return {
        reading: name
        for (reading, name), reason in zip(readings_of(part).items(), reasons, strict=True)
        if reason and words in reason
    }


def _rows_by_stage(path: Path) -> dict[str, Part]:
    part = table.read_part(path)
    if path.name != COMPACTED:
        return {stage_of(path.name): part}
    return {stage: replace(part, rows=rows) for stage, rows in by_stage(part.rows).items()}


def _items_by_stage(path: Path) -> dict[str, pa.Table]:
    rows = item_values.read_part(path)
    return by_stage(rows) if path.name == COMPACTED else {stage_of(path.name): rows}
