"""What a trial takes from the machine or the cluster, as a spec says it."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from rayci.settings import Strict


class Resources(Strict):
    """What one trial takes from the cluster."""

    cpus: Annotated[float, Field(gt=0)] = 1
    """CPUs a trial reserves."""
    gpus: float | Literal["auto"] = 0.0
    """GPUs a trial reserves; a fraction shares one, `auto` takes the share that its memory estimate asks for."""
    max_gpus: Annotated[float, Field(gt=0)] | None = None
    """GPUs that a trial may grow to after it ran out of memory; None: what the largest node has."""
    memory: float | Literal["auto"] = 0.0
    """Memory of its host in GiB that a trial reserves; `auto`: what its estimate asks for. With 0 none is reserved, and
    CPUs and GPUs alone say how many trials a node takes."""
    unplaceable: Literal["error", "skip"] = "error"
    """What becomes of trials that no node can hold, also once the last that could has gone: `error` ends the sweep,
    `skip` gives them rows with status `skipped` and the reason. A later command tries them again."""
    device: Literal["auto", "cpu"] = "auto"
    """Where the model goes; `auto`: to the GPUs that the trial reserves, else to the CPU. `cpu` beside
    reserved GPUs tries out how a sweep packs onto a cluster, on a machine that has none."""
    gpu_memory: Annotated[float, Field(gt=0)] | None = None
    """Memory of one GPU in GiB, of which `gpus: auto` takes a share; None asks the GPU itself."""
    gpu_hour_price: Annotated[float, Field(ge=0)] | None = None
    """Price of one GPU for an hour in USD, for the estimate of `rayci plan`: cost = GPU-hours × price,
    so 0 without GPUs; None leaves the cost open."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Threads of torch in a trial: fixed, because it can change the last bit of a sum."""

    @field_validator("gpus", "memory", mode="plain")
    @classmethod
    def _number_or_auto(cls, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
        if not number and value != "auto":
            raise ValueError("a number from 0, or auto")
        return float(value) if number else value
