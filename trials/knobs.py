"""How a sweep is run: one object from the command line to the workers; nothing here changes a value in the table."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from rayci.errors import RequestError
from rayci.kinds import Keep
from rayci.trials.address import check_address
from rayci.trials.loggers import known_loggers
from rayci.units import GIB


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """The options of `rayci run`, under the same names."""

    set: Sequence[str] = ()
    """Keys of the spec that are set anew: `model=owner/name`, `data.edits=counterfact`."""
    out: Path | str | None = None
    """The run folder; None: `runs/<name>`."""
    store: Path | str | None = None
    """A stage store that other runs share, a folder or a URL; None: the run's own."""
    storage: Path | str | None = None
    """A folder or URL that every node of a cluster sees, where workers write rows and stages; None: the run folder."""
    store_limit: int | None = None
    """Bytes that stored weights may take."""
    workers: int | None = None
    """Trials at a time on this machine, or waiting at a time on a cluster; None: what the cores allow."""
    address: str | None = None
    """A running Ray cluster to join; None starts Ray on this machine."""
    gpu_limit: float | None = None
    """GPUs that the sweep takes at a time, of a cluster that others use too; None: all that there are."""
    only: Sequence[str] = ()
    """Compositions to run; empty: all."""
    replicate: int | None = None
    """The edit batch to run; None: all."""
    seed: int | None = None
    """The seed index to run; None: all."""
    log: Sequence[str] = ()
    """Experiment trackers: wandb, mlflow, tensorboard."""
    sharing: bool = True
    """Whether stages are shared; without, every composition is computed and measured from scratch."""
    keep: Keep | str = Keep.SHARED
    """Whose weights stay in the store: `all` stages', for `rayci apply` and for criteria that are added later;
    those of stages that several trials go on from (`shared`); or `none`: all go, with the last trial in need."""
    max_cost: float | None = None
    """USD that this command may spend on GPUs, by the spec's `resources.gpu_hour_price`; None: no limit."""
    max_hours: float | None = None
    """Hours that this command may take; None: no limit."""
    deadline: str | None = None
    """When this command is to be done, `2026-12-01T08:00` or `08:00`; None: no limit."""
    retry_failed: bool = False
    """Whether stages that failed are computed again."""
    preflight: bool = True
    """Whether nodes are looked at before the first trial, and measured where that was not done within a day."""
    quiet: bool = True
    """No progress display."""

    def check(self) -> None:
        """RequestError for what cannot be right."""
        if self.workers is not None and self.workers < 1:
            raise RequestError(f"workers = {self.workers}", at="--workers", allowed="1 or more")
        if self.keep not in list(Keep):
            raise RequestError(f"keep = {self.keep!r}", at="--keep", allowed=", ".join(Keep))
        if self.gpu_limit is not None and not 0 < self.gpu_limit < math.inf:
            raise RequestError(f"gpu_limit = {self.gpu_limit}", at="--gpu-limit", allowed="a number above 0")
        known_loggers(self.log)
        if self.address is not None:
            check_address(self.address)

    def command(self, spec: Path | str) -> str:
        """The command line that goes on with the run: it says the same, and forgets no failures a second time."""
        return shlex.join(["rayci", "run", str(spec), *self._options()])

    def _options(self) -> Iterator[str]:
        for field in fields(self):
            value = getattr(self, field.name)
            option = f"--{field.name.replace('_', '-')}"
            if field.name in ("retry_failed", "deadline"):  # what is over when the command is typed again
                continue
            if field.default is True and field.name != "quiet":
                yield from [] if value else [f"--no-{option[2:]}"]
            elif field.name == "keep":
                yield from [] if value == field.default else [option, str(value)]
            elif field.name == "store_limit":
                yield from [] if value is None else [option, f"{value / GIB:.12g}"]
            elif isinstance(value, bool):
                yield from [option] if value else []
            else:
                for said in [] if value is None else [value] if isinstance(value, str | Path | int | float) else value:
                    yield from [option, str(said)]


DEFAULT = Knobs()
