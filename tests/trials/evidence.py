"""What a run has stored, read from its files, and whether any of it was computed again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayci.planning.plan import Plan


@dataclass
class Evidence:
    """Watches a run folder: a part of the table and a stored stage must stay as they were first seen.

    An application of a step writes its seconds to the stage's `outcome.json`, a measurement
    writes the stage's readings: both show in the files, whoever did it, and when it began.
    """

    run: Path
    ends: frozenset[str]
    """Stages that no trial goes beyond: their rows are all there is to store."""
    parts: dict[str, int] = field(default_factory=dict)
    """Stage -> time of the last change of its part, ns."""
    readings: dict[Path, int] = field(default_factory=dict)
    """The same for each reading of a stage that has a part."""
    applied: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)
    """Stage that was stored -> (when that was seen, seconds since 1970; how it was applied)."""
    damaged: dict[str, int] = field(default_factory=dict)
    """Stage that was damaged on purpose, and may be computed again -> time of the last change of its part."""

    def look(self) -> None:
        """Compare with what was seen before and remember what is new; AssertionError for what was done again."""
        now = time.time()
        parts = {path.stem: path.stat().st_mtime_ns for path in (self.run / "table").glob("[!.]*.parquet")}
        parts = {stage: changed for stage, changed in parts.items() if self.damaged.get(stage) != changed}
        assert {stage: parts.get(stage) for stage in self.parts} == self.parts, "rows were lost or written again"
        for path, changed in self.readings.items():
            assert path.stat().st_mtime_ns == changed, f"{path} was measured again"
        for stage, (seen, outcome) in self.applied.items():
            again = self._outcome(stage)
            if again is not None and again[1] != outcome:
                began = again[0] - again[1]["seconds"]
                assert began < seen, f"{stage} was applied again {began - seen:.1f} s after it had been stored"
                self.applied[stage] = now, again[1]
        self.parts |= parts
        for stage in parts:
            self.readings |= {
                path: path.stat().st_mtime_ns for path in (self._place(stage) / "readings").glob("*.json")
            }
        for stage in {*(self.ends & set(parts)), *self.stored()} - {*self.applied, *self.damaged}:
            found = self._outcome(stage)
            if found is not None:
                self.applied[stage] = now, found[1]

    def stored(self) -> set[str]:
        """Stages whose weights are stored now."""
        return {path.parent.name for path in (self.run / "store").glob("??/*/receipts.json")}

    def excuse(self, stage: str) -> None:
        """A stage is damaged on purpose."""
        part = self.run / "table" / f"{stage}.parquet"
        self.damaged[stage] = part.stat().st_mtime_ns if part.is_file() else 0
        self.parts.pop(stage, None)
        self.applied.pop(stage, None)
        self.readings = {path: time for path, time in self.readings.items() if self._place(stage) not in path.parents}

    def missing(self, plan: Plan) -> int:
        """Steps that have to be applied to finish: what is neither in the table nor stored, and the way there."""
        done, stored = set(self.parts), self.stored() - set(self.damaged)
        needed: set[str] = set()
        for trial in plan.trials:
            way: list[str] = []
            for stage in trial.stages[1:]:
                way = [] if stage.fingerprint in stored else [*way, stage.fingerprint]
                if stage.fingerprint not in done:
                    needed.update(way)
        return len(needed)

    def _place(self, stage: str) -> Path:
        return self.run / "store" / stage[:2] / stage

    def _outcome(self, stage: str) -> tuple[float, dict[str, Any]] | None:
        """When a stage's outcome was written, and what it says."""
        path = self._place(stage) / "outcome.json"
        try:
            return path.stat().st_mtime, json.loads(path.read_text())
        except FileNotFoundError:
            return None
