"""What this machine has for trials."""

from __future__ import annotations

import math
import os

from rayci.planning.resources import Resources
from rayci.trials.knobs import Knobs
from rayci.trials.reservations import Reservations


def workers(knobs: Knobs, resources: Resources) -> int:
    """Trials at a time: as the knobs say, else as many as fit without their threads fighting over cores."""
    return knobs.workers or max(1, int(cores() // max(resources.cpus, resources.threads)))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Bytes of this machine, or of the container that this process runs in."""
    from rayci.forecast.rates import host_bytes

    return host_bytes()


def gpus(resources: Resources, reservations: Reservations, workers: int) -> int:
    """GPUs that a Ray on this machine is told of.

    Those that torch sees; with `device: cpu` beside reserved GPUs, which tries out how a sweep packs, as many as so
    many workers ask for and one trial may grow to (`max_gpus`, else one), for nothing computes on them.
    """
    if resources.gpus == 0:
        return 0
    if resources.device == "cpu":
        return math.ceil(max(resources.max_gpus or 1.0, workers * reservations.largest()))
    import torch

    return torch.cuda.device_count()
