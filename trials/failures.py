"""What failed in a run, and why: reasons from the table, tracebacks from the stage store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from rayci import table
from rayci.errors import RayciError
from rayci.kinds import Status
from rayci.storage.stages import StageStore
from rayci.trials.run_folder import RunFolder


@dataclass(frozen=True)
class Failure:
    """A stage that failed, or criteria that failed on it."""

    chain: str
    replicate: int | None
    seed: int | None
    criteria: tuple[str, ...]
    """Criteria without a value; all of them where the stage itself failed."""
    reason: str
    traceback: str | None
    """None where it came from nowhere in the code, or the stage store is not at hand."""


def failures(folder: RunFolder) -> list[Failure]:
    """Every failure of a run in the order of the table; what was skipped because of one is left out."""
    if not any(folder.parts.glob("[!.]*.parquet")):
        return []
    rows = table.read(folder.root).arrow.filter(pc.field("status") == Status.FAILED.value).to_pylist()
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["stage_fingerprint"], row["reason"]), []).append(row)
    store = _store(folder) if rows else None
    found = []
    for same in groups.values():
        first = same[0]
        criteria = tuple(dict.fromkeys(row["criterion"] for row in same))
        chain = first["chain"] or "untouched model"
        origin = None if store is None else _traceback(store, first)
        found.append(Failure(chain, first["replicate"], first["seed"], criteria, first["reason"], origin))
    return found


def tracebacks(failures: Iterable[Failure]) -> list[tuple[str, str]]:
    """(what failed, traceback), the same one from several stages once."""
    titles: dict[str, list[str]] = {}
    for failure in failures:
        if failure.traceback is not None:
            titles.setdefault(failure.traceback, []).append(f"{failure.chain}: {failure.reason}")
    return [(f"{same[0]} (and {len(same) - 1} more)" if same[1:] else same[0], text) for text, same in titles.items()]


def _store(folder: RunFolder) -> StageStore | None:
    place = (folder.described() or {}).get("store", folder.store)
    with suppress(RayciError):
        return StageStore(place)
    return None


def _traceback(store: StageStore, row: Mapping[str, Any]) -> str | None:
    outcome = store.outcome(row["stage_fingerprint"])
    if outcome is not None and outcome.failure is not None:
        return outcome.traceback
    reading = store.reading(row["stage_fingerprint"], row["criterion_fingerprint"])
    return None if reading is None else reading.get("traceback")
