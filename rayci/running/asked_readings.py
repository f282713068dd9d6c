"""Which readings a stage should have under a sweep's criteria, and which of them its rows lack."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from rayci.criterion import Criterion
from rayci.planning.plan import Stage
from rayci.planning.sweep import Sweep
from rayci.storage.parts import ReadingKey
from rayci.table import Part

Asked = tuple[Criterion, int | None, str]
"""(criterion, replicate as in the table, fingerprint of the measurement)."""


def replicates(sweep: Sweep, criterion: Criterion, stage: Stage) -> tuple[int | None, ...]:
    """The replicates for which a criterion is measured on a stage.

    A stage that holds an edit has one; elsewhere a criterion that reads the edit batch is
    measured for each batch, any other once, with replicate None.
    """
    if stage.replicate is None and criterion.per_edit_batch:
        return tuple(range(sweep.spec.replicates))
    return (stage.replicate,)


def asked(sweep: Sweep, stage: Stage) -> Iterator[Asked]:
    """Every reading that the stage should have."""
    for criterion in sweep.criteria:
        for replicate in replicates(sweep, criterion, stage):
            yield criterion, replicate, sweep.criterion_fingerprint(criterion, replicate, stage.seed)


def lacking(sweep: Sweep, stage: Stage, held: Collection[ReadingKey]) -> list[Asked]:
    """Those of them that have no row, given those that have."""
    return [(criterion, k, digest) for criterion, k, digest in asked(sweep, stage) if (digest, k) not in held]


def readings_of(part: Part) -> dict[ReadingKey, str]:
    """The readings that a part has rows of, each with the name of its criterion."""
    columns = (part.rows.column(name).to_pylist() for name in ("criterion_fingerprint", "replicate", "criterion"))
    return {(digest, replicate): name for digest, replicate, name in zip(*columns, strict=True)}


def outdated(sweep: Sweep, stage: Stage, part: Part) -> dict[ReadingKey, str]:
    """Readings of a part, by name of their criterion, that were taken with other settings, data or another version.

    A criterion that the sweep does not ask for, or not any more, keeps its rows.
    """
    now = {(digest, k) for _, k, digest in asked(sweep, stage)}
    names = {criterion.name for criterion in sweep.criteria}
    return {reading: name for reading, name in readings_of(part).items() if name in names and reading not in now}
