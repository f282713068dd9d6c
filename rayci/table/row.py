"""One row of the result table as its writers make it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from rayci.kinds import Direction, Kind, Recompress, Status
from rayci.table.schema import SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCell:
    """One applied step as the table shows it."""

    kind: Kind
    method: str
    strength_name: str | None
    strength: float | None
    """γ as a number; for n:m sparsity the share n/m."""
    settings: str
    """Effective settings as canonical JSON."""
    recompression: str | None
    """`refit` or `reproject` where this step is the re-compression of an earlier one."""
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured value, or the reason why there is none."""

    sweep: str
    sweep_fingerprint: str
    trial_id: str
    """The trial that measured the stage: the first in the plan's order that contains it."""
    model: str
    model_fingerprint: str
    composition: str
    """The steps as asked, up to this stage, without re-compression; empty = untouched model."""
    chain: str
    """Everything that was applied, re-compression included."""
    final: bool
    """The composition ends here under the sweep's re-compression policy."""
    recompress: Recompress
    steps: tuple[StepCell, ...]
    stage: int
    """Number of steps applied; 0 is the untouched model."""
    stage_fingerprint: str
    replicate: int | None
    """Edit batch; None where neither the stage nor the criterion depends on it."""
    seed: int | None
    """Seed index; None where nothing on the stage was drawn."""
    criterion: str
    criterion_fingerprint: str
    direction: Direction
    value: float | None
    """None unless status is ok; infinite is allowed, NaN is not."""
    stderr: float | None
    n: int | None
    status: Status
    reason: str | None
    """Why there is no value; where there is one, what is to be known of it: prompts that were cut."""
    load_seconds: float | None = None
    """This and the others: see `rayci.table.schema`; None where nobody measured."""
    apply_seconds: float | None
    measure_seconds: float | None
    store_seconds: float | None = None
    idle_seconds: float | None = None
    apply_operations: float | None = None
    measure_operations: float | None = None
    device_rate: float | None = None
    peak_memory_bytes: int | None
    """Peak accelerator memory of applying the stage's last step and of measuring; None on a CPU."""
    device: str
    dtype: str
    versions: str
    recorded_at: datetime
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if (self.value is None) == (self.status is Status.OK):
            raise ValueError(f"{self.criterion} on {self.chain!r}: a value needs status ok and ok needs a value")
        if self.status is not Status.OK and not self.reason:
            raise ValueError(f"{self.criterion} on {self.chain!r}: status {self.status} needs a reason")
        if any(number is not None and math.isnan(number) for number in (self.value, self.stderr)):
            raise ValueError(f"{self.criterion} on {self.chain!r}: NaN never enters the table")
