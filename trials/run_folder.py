"""The folder of one run: what is in it, who may write to it, what is done.

runs/<name>/
    run.json        the sweep: spec, fingerprint, counts of the plan
    table/          Parquet parts, one a stage
    store/          stage store (unless given elsewhere)
    progress.json   last known state, for `rayci status`
    tune/           TensorBoard's files, where they are asked for
    report.html     the report
"""

from __future__ import annotations

import fcntl
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rayci import table
from rayci.errors import CorruptionError, RequestError, StorageError
from rayci.planning.plan import Plan
from rayci.planning.sweep import Sweep
from rayci.storage.atomic import replacing
from rayci.storage.parts import Parts
from rayci.storage.stages import StageStore, located

LOST = "the worker died in this stage, and died again when it was retried"
"""Reason of rows that the same command tries to replace."""


DEAD_AFTER = 3600.0
"""Seconds without a change after which a half-written part is nobody's."""


class RunFolder:
    """Paths and state of one run."""

    def __init__(self, root: Path, store: Path | str | None = None, storage: Path | str | None = None) -> None:
        """`store`: a stage store that other runs share, a folder or a URL; by default the run's own.

        `storage`: a folder or URL that every node sees, where workers write rows and stages; rows
        are then copied to the run folder. By default the run folder itself.
        """
        self.root = root.expanduser().resolve()
        place = str(self.root) if storage is None else located(storage).rstrip("/")
        self.parts = self.root / "table"
        self.workers_parts = f"{place}/table"
        self.own_store = store is None
        self.store = f"{place}/store" if store is None else located(store)
        self.tune = self.root / "tune"
        self.notes: list[str] = []
        """What was found damaged here, and what became of it."""

    def open_store(self, limit: int | None = None) -> StageStore:
        """The run's stage store."""
        return StageStore(self.store, limit=limit)

    def part(self, stage: str) -> Path:
        """The part file of a stage in the run folder."""
        return self.parts / Parts.name(stage)

    def fetch(self, plan: Plan) -> None:
        """Copy rows that workers have written elsewhere to the run folder."""
        if self.workers_parts != str(self.parts):
            Parts(self.workers_parts).fetch(list(plan.stages), self.parts)

    def tidy(self) -> None:
        """Delete what workers that were killed left half-written among the parts."""
        for path in self.parts.glob(".*.parquet.*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > DEAD_AFTER:
                    path.unlink()

    def forget(self, stage: str) -> None:
        """Delete a stage's rows wherever they lie, so that they are written again."""
        for place in {str(self.parts), self.workers_parts}:
            Parts(place).remove(stage)

    def check(self, sweep: Sweep) -> None:
        """RequestError where the folder holds something else than this sweep; writes nothing."""
        if self.root.exists() and not self.root.is_dir():
            raise RequestError(f"{self.root} is a file", at="--out", hint="a folder that does not exist yet")
        known = self.described()
        if known is None:
            if self.root.is_dir() and any(not path.name.startswith(".") for path in self.root.iterdir()):
                raise RequestError(f"{self.root} is not a run folder", at="--out", hint="an empty or new folder")
            return
        if known["fingerprint"] != sweep.fingerprint:
            raise RequestError(
                f"{self.root} holds another sweep: its spec, model or data has changed since",
                at="--out",
                hint=f"--out {self.root.name}-2 --store {self.root}/store reuses what was computed",
            )

    def describe(self, sweep: Sweep, plan: Plan) -> None:
        """Write what the run is."""
        spec = sweep.spec.model_dump(mode="json")
        self._write("run.json", {"fingerprint": sweep.fingerprint, "spec": spec, "plan": plan.summary()})

    def described(self) -> dict[str, Any] | None:
        """What `describe` wrote, or None."""
        return self._read("run.json")

    def report_progress(self, state: dict[str, Any]) -> None:
        """Write the last known state of the run, if there is room: it is there to be looked at."""
        with suppress(StorageError):
            self._write("progress.json", state)

    def progress(self) -> dict[str, Any] | None:
        """The last known state of the run, or None."""
        return self._read("progress.json")

    def state(self) -> dict[str, Any]:
        """How far the run is, read from the folder alone; RequestError where it is none."""
        known = self.described()
        if known is None:
            raise RequestError(
                f"{self.root} is not a run folder", hint="rayci run SPEC makes one, by default runs/<name>"
            )
        progress = self.progress() or {}
        stages = known["plan"]["stages_computed"] + 1
        done = len(list(self.parts.glob("[!.]*.parquet")))
        state = "finished" if done >= stages else "running" if self._held() else "stopped: the same command continues"
        counts = {key: progress[key] for key in ("done", "running", "waiting", "failed", "given_up") if key in progress}
        now: dict[str, Any] = {}
        if state != "running":
            counts |= {key: 0 for key in ("running", "waiting") if key in counts}
        else:
            now = {
                key: progress[key] for key in ("gpus_reserved", "gpus", "seconds_left") if progress.get(key) is not None
            }
        trials = {"trials": known["plan"]["trials"], **{f"trials_{key}": value for key, value in counts.items()}}
        return {"state": state, "stages": stages, "stages_done": done, **trials, **now, "folder": str(self.root)}

    def _held(self) -> bool:
        lock = self.root / ".lock"
        if not lock.exists():
            return False
        with lock.open() as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for one driver; RequestError where another process has it."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RequestError(
                    f"another process is running {self.root}", hint=f"rayci status {self.root}, or another --out"
                ) from None
            yield

    def done(self, plan: Plan) -> set[str]:
        """Stages whose rows are on disk.

        A damaged part is set aside and counts as not done; so does a stage that a worker died in:
        what killed it may be gone, unlike a method's failure.
        """
        found = set()
        self.fetch(plan)
        for stage in plan.stages:
            path = self.part(stage)
            if not path.is_file():
                continue
            try:
                rows = table.read_part(path).rows
            except CorruptionError as error:
                aside = path.rename(path.with_name(f".damaged-{uuid.uuid4().hex[:8]}-{path.name}"))
                self.notes.append(f"{error}; it was set aside as {aside.name}, and its rows are written again")
                self.forget(stage)
                continue
            if any(LOST in (reason or "") for reason in rows.column("reason").unique().to_pylist()):
                self.forget(stage)
                self.open_store().forget(stage)
                continue
            found.add(stage)
        return found

    def _write(self, name: str, value: dict[str, Any]) -> None:
        with replacing(self.root / name) as temporary:
            temporary.write_text(json.dumps(value, indent=1))

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            value = json.loads((self.root / name).read_text())
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None
