"""How many trials run on this machine at a time, and the GPUs that it has for them."""

from __future__ import annotations

import math

from rayci.forecast.host import cores
from rayci.planning.resources import Resources
from rayci.trials.knobs import Knobs
from rayci.trials.reservations import Reservations


def workers(knobs: Knobs, resources: Resources) -> int:
    """Trials at a time: as the knobs say, else as many as fit without their threads fighting over cores."""
    return knobs.workers or max(1, int(cores() // max(resources.cpus, resources.threads)))


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
