"""The folder of one run: what is in it, who may write to it, what is done.

runs/<name>/
    run.json        the sweep: spec, fingerprint, counts of the plan, what was asked for last
    table/          Parquet parts, one a stage
    items/          per-item values, one a stage
    aside/          parts that were damaged or of another sweep; nobody reads them
    store/          stage store (unless given elsewhere)
    progress.json   last known state, for `rayci status`
    tune/           TensorBoard's files, where they are asked for
    report.html     the report
"""

from __future__ import annotations

import fcntl
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from rayci import item_values, table
from rayci.errors import CorruptionError, RequestError, StorageError
from rayci.model.folder import parameters
from rayci.planning.plan import Plan
from rayci.planning.sweep import Sweep
from rayci.running.rows import fault, items_fault
from rayci.storage import entries
from rayci.storage.atomic import replacing
from rayci.storage.parts import ITEMS, ROWS, Parts
from rayci.storage.stages import StageStore, located
from rayci.storage.user_paths import folder_to_write, path_of

LOST = "the worker died in this stage, and died again when it was retried"
"""Reason of rows that the same command tries to replace."""

DEAD_AFTER = 3600.0
"""Seconds without a change after which a half-written part is nobody's."""

T = TypeVar("T")

_LOCK = ".lock"

_TOLD = 10
"""Parts set aside that have a note of their own."""


class RunFolder:
    """Paths and state of one run."""

    def __init__(self, root: Path, store: Path | str | None = None, storage: Path | str | None = None) -> None:
        """`store`: a stage store that other runs share, a folder or a URL; by default the run's own.

        `storage`: a folder or URL that every node sees, where workers write rows and stages; rows
        are then copied to the run folder. By default the run folder itself.
        """
        self.root = path_of(root)
        place = str(self.root) if storage is None else located(storage).rstrip("/")
        self.parts, self.items, self.aside = self.root / ROWS, self.root / ITEMS, self.root / "aside"
        self.workers_results = place
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
        """Copy rows and items that workers have written elsewhere to the run folder."""
        if self.workers_results != str(self.root):
            Parts(self.workers_results).fetch(list(plan.stages), self.root)

    def tidy(self) -> None:
        """Delete what workers that were killed left half-written among the parts."""
        for path in (*self.parts.glob(".*.parquet.*"), *self.items.glob(".*.parquet.*")):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > DEAD_AFTER:
                    path.unlink()

    def forget(self, stage: str) -> None:
        """Delete a stage's rows and items wherever they lie, so that they are written again."""
        for place in {str(self.root), self.workers_results}:
            Parts(place).remove(stage)

    def check(self, sweep: Sweep) -> None:
        """RequestError where the folder holds something else than this sweep; writes nothing."""
        folder_to_write(self.root, "--out")
        run = self.described()
        sweeps = {run["fingerprint"]} if run is not None else self._sweeps_of_parts()
        if sweeps and sweep.fingerprint not in sweeps:
            raise RequestError(
                f"{self.root} holds another sweep: its spec, model or data has changed since",
                at="--out",
                hint=f"--out {self.root.name}-2 --store {self.root}/store reuses what was computed",
            )
        if not sweeps and self.root.is_dir() and not self._is_ours():
            raise RequestError(f"{self.root} is not a run folder", at="--out", hint="an empty or new folder")

    def _sweeps_of_parts(self) -> set[str]:
        """Fingerprints of the sweeps that whole parts here are of: what is known where `run.json` is lost."""
        sweeps = set()
        for path in self.parts.glob("[!.]*.parquet"):
            with suppress(CorruptionError):
                sweeps.add(table.read_part(path).sweep)
        return sweeps

    def _is_ours(self) -> bool:
        """Whether a run was started here, or nothing is here."""
        names = {path.name for path in self.root.iterdir()}
        return bool(names & {table.RUN_FILE, _LOCK}) or all(name.startswith(".") for name in names)

    def describe(self, sweep: Sweep, plan: Plan, asked: Plan) -> None:
        """Write what the run is, and which of its trials were asked for."""
        run = self.described()
        if run is None and self.parts.is_dir():
            self.notes.append(f"{self.root / table.RUN_FILE} was lost or damaged; it was written anew")
        entry = {
            "fingerprint": sweep.fingerprint,
            "spec": sweep.spec.model_dump(mode="json"),
            "plan": plan.summary(),
            "parameters": parameters(sweep.folder),
            "asked": {"trials": len(asked.trials), "stages": list(asked.stages)},
            "store": self.store,
            ITEMS: self.items.is_dir() or not self.parts.is_dir() if run is None else run.get(ITEMS, False),
        }
        self._write(table.RUN_FILE, entry)

    def described(self) -> dict[str, Any] | None:
        """What `describe` wrote; None where it is lost or damaged."""
        return self._read(table.RUN_FILE)

    def report_progress(self, state: dict[str, Any]) -> None:
        """Write the last known state of the run, if there is room: it is there to be looked at."""
        with suppress(StorageError):
            self._write("progress.json", state)

    def progress(self) -> dict[str, Any] | None:
        """The last known state of the run, or None."""
        return self._read("progress.json")

    def state(self) -> dict[str, Any]:
        """How far the run is with what was asked for last, from the folder alone; RequestError where it is none."""
        run = self.described()
        if run is None:
            raise RequestError(
                f"{self.root} is not a run folder, or its {table.RUN_FILE} is damaged",
                hint="rayci run SPEC makes one, by default runs/<name>, and mends it",
            )
        progress = self.progress() or {}
        stages, trials = run["asked"]["stages"], run["asked"]["trials"]
        done = sum(self.part(stage).is_file() for stage in stages)
        state = (
            "finished" if done == len(stages) else "running" if self._held() else "stopped: the same command continues"
        )
        counts = {key: progress[key] for key in ("done", "running", "waiting", "failed", "given_up") if key in progress}
        now: dict[str, Any] = {}
        if state != "running":
            counts |= {key: 0 for key in ("running", "waiting") if key in counts}
        else:
            now = {
                key: progress[key] for key in ("gpus_reserved", "gpus", "seconds_left") if progress.get(key) is not None
            }
        rest = {} if trials == run["plan"]["trials"] else {"trials_of_the_sweep": run["plan"]["trials"]}
        words = {"trials": trials, **{f"trials_{key}": value for key, value in counts.items()}, **rest}
        return {"state": state, "stages": len(stages), "stages_done": done, **words, **now, "folder": str(self.root)}

    def _held(self) -> bool:
        lock = self.root / _LOCK
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
        with (self.root / _LOCK).open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RequestError(
                    f"another process is running {self.root}", hint=f"rayci status {self.root}, or another --out"
                ) from None
            yield

    def done(self, sweep: Sweep, plan: Plan) -> set[str]:
        """Stages whose rows and items are on disk.

        A file that is damaged, of another sweep or of another stage is set aside and counts for
        nothing. A stage that a worker died in is not done either: what killed it may be gone,
        unlike a method's failure.
        """
        self.fetch(plan)
        aside: list[str] = []
        items = self._whole(self.items, plan, item_values.read_part, aside)
        parts = self._whole(self.parts, plan, table.read_part, aside)
        done, lost = set(), set()
        for name, part in parts.items():
            stage = plan.stages[name]
            if reason := fault(sweep, stage, part):
                aside.append(self._set_aside(self.part(name), plan, reason))
            elif any(LOST in (reason or "") for reason in part.rows.column("reason").unique().to_pylist()):
                self.forget(name)
                self.open_store().forget(name)
            elif name not in items:
                lost.add(name)
            elif reason := items_fault(sweep, stage, part, items[name]):
                aside.append(self._set_aside(self.items / Parts.name(name), plan, reason))
            else:
                done.add(name)
        self.notes += aside[:_TOLD]
        if len(aside) > _TOLD:
            self.notes.append(f"{len(aside) - _TOLD} more files were set aside in {self.aside}")
        return done | self._without_items(lost)

    def _whole(self, folder: Path, plan: Plan, read: Callable[[Path], T], aside: list[str]) -> dict[str, T]:
        """The files of a folder that can be read and are of a stage of the plan, by stage; others are set aside."""
        whole: dict[str, T] = {}
        for path in sorted(folder.glob("[!.]*.parquet")):
            try:
                if path.stem not in plan.stages:
                    raise CorruptionError(f"{path}: not a stage of this sweep")
                whole[path.stem] = read(path)
            except CorruptionError as error:
                aside.append(self._set_aside(path, plan, str(error)))
        return whole

    def _without_items(self, stages: set[str]) -> set[str]:
        """Those of the stages with rows and no items that count as done: all, where the run is older than items."""
        if stages and self._older_than_items():
            self.notes.append(f"{len(stages)} stages have {item_values.NONE_KEPT}; another --out measures them anew")
            return stages
        for stage in stages:
            self.forget(stage)
        if stages:
            self.notes.append(f"{len(stages)} stages had lost their file in {self.items}: their rows are written again")
        return set()

    def _older_than_items(self) -> bool:
        run = self.described()
        return run is not None and not run.get(ITEMS, False)

    def _set_aside(self, path: Path, plan: Plan, reason: str) -> str:
        """Move a file to where nobody reads it, and forget its stage if it has one; says so."""
        target = self.aside / f"{uuid.uuid4().hex[:8]}-{path.name}"
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
        if path.stem in plan.stages:
            self.forget(path.stem)
        where = "" if str(path) in reason else f"{path}: "
        return f"{where}{reason}; it was set aside as {target.relative_to(self.root)}"

    def _write(self, name: str, entry: dict[str, Any]) -> None:
        with replacing(self.root / name) as temporary:
            temporary.write_bytes(entries.encode(entry, name, indent=1))

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return entries.read(self.root / name)
        except CorruptionError:
            return None
