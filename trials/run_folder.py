"""The folder of one run: what is in it, who may write to it, what is done.

runs/<name>/
    run.json        the sweep: spec, fingerprint, counts of the plan, what was asked for last
    table/          Parquet parts, one a stage and one for what is added to it later; of a finished run one file
    items/          per-item values, files of the same names; of a finished run one file
    aside/          parts that were damaged, of another sweep or measured with other settings; nobody reads them
    store/          stage store (unless given elsewhere)
    progress.json   last known state, for `rayci status`
    tune/           TensorBoard's files, where they are asked for
    report.html     the report
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rayci import item_values, table
from rayci.errors import CorruptionError, RequestError, StorageError
from rayci.model.folder import parameters
from rayci.planning.plan import Plan
from rayci.planning.sweep import Sweep
from rayci.storage import compaction, entries, sealed
from rayci.storage.atomic import replacing
from rayci.storage.parts import ITEMS, ROWS, Parts, ReadingKey
from rayci.storage.stages import StageStore, located
from rayci.storage.user_paths import folder_to_write, path_of
from rayci.trials.whole_stages import WholeStages
from rayci.units import HOUR

DEAD_AFTER = HOUR
"""Seconds without a change after which a half-written part is nobody's."""

FEW = 100
"""Parts up to which a finished run is left as it is: they are read at once, and can be looked at one by one."""

_LOCK = ".lock"

_COUNTS = ("done", "running", "waiting", "failed", "given_up", "skipped")
_NOW = ("gpus_reserved", "gpus", "seconds_left", "waits_for")
"""What `progress.json` says that `RunFolder.state` passes on; the latter while the run is at work."""


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
        """The part file of a stage in the run folder, where it is not in the compacted one."""
        return self.parts / Parts.name(stage)

    def fetch(self, plan: Plan) -> None:
        """Copy rows and items that workers have written elsewhere to the run folder."""
        if self.workers_results != str(self.root):
            Parts(self.workers_results).fetch(plan.stages.keys() - self.held(), self.root)

    def tidy(self) -> None:
        """Delete what workers that were killed left half-written among the parts."""
        for path in (*self.parts.glob(".*.parquet.*"), *self.items.glob(".*.parquet.*")):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > DEAD_AFTER:
                    path.unlink()

    def forget(self, stages: Collection[str]) -> None:
        """Delete the rows and items of these stages wherever they lie, so that they are written again."""
        if stages:
            for place in self._places:
                Parts(place).remove(stages)

    def drop(self, readings: Mapping[str, Collection[ReadingKey]]) -> None:
        """The same for single readings, by stage: all other rows stay as they are."""
        for place in self._places:
            Parts(place).drop(readings)

    def delete(self, name: str) -> None:
        """Delete a file of rows and that of their items wherever they lie."""
        for place in self._places:
            Parts(place).delete(name)

    @property
    def _places(self) -> set[str]:
        return {str(self.root), self.workers_results}

    def check(self, sweep: Sweep) -> None:
        """RequestError where the folder holds something else than this sweep; writes nothing."""
        folder_to_write(self.root, "--out")
        run = self.described()
        sweeps = {run["fingerprint"]} if run is not None else self._sweeps_of_parts()
        if sweeps and sweep.fingerprint not in sweeps:
            raise RequestError(
                f"{self.root} holds another sweep: its spec, model or data has changed since, or rayci itself",
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
            "commit": sweep.commit,
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
        done = len(self.held().intersection(stages))
        state = (
            "finished" if done == len(stages) else "running" if self._held() else "stopped: the same command continues"
        )
        counts = {key: progress[key] for key in _COUNTS if key in progress}
        now: dict[str, Any] = {}
        if state != "running":
            counts |= {key: 0 for key in ("running", "waiting") if key in counts}
        else:
            now = {key: progress[key] for key in _NOW if progress.get(key) is not None}
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
        """Stages whose rows and items are on disk, see `WholeStages`; what was found damaged is told in the notes."""
        self.fetch(plan)
        stages = WholeStages(sweep, plan, self)
        done = stages.done()
        stages.note()
        return done

    def held(self) -> set[str]:
        """Stages that have their rows here, by the names of files and the index of the compacted one."""
        asked = (self.described() or {}).get("asked", {})
        before = asked.get("begun", {})
        return {stage for stage, files in compaction.files_by_stage(self.parts).items() if files > before.get(stage, 0)}

    def begin(self, stages: Collection[str]) -> None:
        """Remember which stages have rows, and lack some that are asked for now: a further file completes them."""
        run = self.described()
        if run is not None:
            files = compaction.files_by_stage(self.parts)
            begun = {stage: files[stage] for stage in stages if files[stage]}
            if begun != run["asked"].get("begun", {}):
                self._write(table.RUN_FILE, {**run, "asked": {**run["asked"], "begun": begun}})

    def compact(self, plan: Plan) -> None:
        """Bring the rows of a finished run into one file, and its items into another; nothing while it is small."""
        if len(compaction.files_of(self.parts)) <= FEW or not plan.stages.keys() <= self.held():
            return
        try:
            compaction.compact(self.items, _write_items)
            compaction.compact(self.parts, table.write_joined)
            self.begin(())
        except StorageError as error:  # nothing is lost: the parts stay, and the next command tries again
            self.notes.append(str(error))

    def older_than_items(self) -> bool:
        """Whether the run was begun before items were kept."""
        run = self.described()
        return run is not None and not run.get(ITEMS, False)

    def _write(self, name: str, entry: dict[str, Any]) -> None:
        with replacing(self.root / name) as temporary:
            temporary.write_bytes(entries.encode(entry, name, indent=1))

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return entries.read(self.root / name)
        except CorruptionError:
            return None


def _write_items(files: Sequence[Path], path: Path) -> None:
    rows = item_values.read(files)
    assert rows is not None
    sealed.write(rows, path)
