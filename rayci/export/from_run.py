"""A stage of a run: what it is, where its sweep has stored stages, and what the table says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from rayci import table
from rayci.errors import CorruptionError, RequestError
from rayci.export.origin import Value
from rayci.export.wanted import Wanted, find
from rayci.kinds import Direction, Status
from rayci.model.folder import at_commit
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.storage import entries
from rayci.storage.user_paths import path_of


def of_run(
    run: Path | str, *, stage: str | None = None, only: str | None = None, replicate: int = 0, seed: int = 0
) -> Wanted:
    """A stage of a run by the beginning of its fingerprint, or the end of a composition of its methods.

    A model on the hub is taken at the commit that the run has read. Raises RequestError where there is no run or
    no such stage, or where its model or data have changed since.
    """
    folder = path_of(run, "--run")
    try:
        entry = entries.read(folder / table.RUN_FILE)
        asked = Spec.model_validate(entry["spec"])
    except (CorruptionError, KeyError, ValueError) as error:
        raise RequestError(f"{folder} is not a run folder: {error}", at="--run", hint="a folder of rayci run") from None
    spec = asked.model_copy(update={"model": at_commit(asked.model, entry.get("commit"))})
    sweep = Sweep.open(spec)
    if sweep.fingerprint != entry["fingerprint"]:
        raise RequestError(
            f"the model or the data of {folder.name} are not those that it was run with",
            at="--run",
            hint=f"put {spec.model}" + (f" and {spec.data}" if spec.data else "") + " back as they were",
        )
    wanted = find(sweep, stage, only, replicate, seed)
    store = entry["store"]
    here = "://" in store or Path(store).is_dir()
    return replace(wanted, store=store if here else folder / "store")  # a run folder may have been moved


def values(run: Path | str, wanted: Wanted) -> tuple[Value, ...]:
    """What the run's table says of the stage, beside the untouched model's values; nothing where it has no rows."""
    rows = table.read(path_of(run, "--run")).arrow
    here, before = (
        _readings(rows, wanted, wanted.stage.fingerprint),
        _readings(rows, wanted, wanted.trial.stages[0].fingerprint),
    )
    return tuple(
        Value(
            name,
            Direction(row["direction"]),
            row["value"],
            row["stderr"],
            row["n"],
            before[name]["value"] if name in before else None,
        )
        for name, row in here.items()
    )


def _readings(rows: Any, wanted: Wanted, stage: str) -> dict[str, dict[str, Any]]:
    """Criterion -> its row on a stage, for the trial's edit batch."""
    chosen = rows.filter((pc.field("stage_fingerprint") == stage) & (pc.field("status") == Status.OK.value))
    chosen = chosen.select(["criterion", "replicate", "direction", "value", "stderr", "n"])
    batch = wanted.trial.replicate or 0
    return {row["criterion"]: row for row in chosen.to_pylist() if row["replicate"] in (None, batch)}
