"""How large a criterion's batches may be: as its own statement of memory fits into what the device has free.

Only fields marked `Speed` change, which do not change results, and only those that the spec leaves at their
default; on a CPU they all stay. What does not fit after all is halved, see `out_of_memory`.
"""

from __future__ import annotations

from typing import TypeVar

import torch

from rayci.criterion import Criterion
from rayci.model.streaming import free_bytes
from rayci.workload import Workload

C = TypeVar("C", bound=Criterion)

SPARE = 0.8
"""Share of the free memory that is planned with: sizes of texts are estimates, and allocators leave gaps."""
_DOUBLINGS = 8


def free_memory(device: torch.device, share: float) -> int | None:
    """Bytes that a process may still take on its device, `share` of it being its own; None on a CPU.

    Of several GPUs the one with the least decides.
    """
    if device.type != "cuda":
        return None
    free = []
    for gpu in range(torch.cuda.device_count()):
        own = share * torch.cuda.get_device_properties(gpu).total_memory - torch.cuda.memory_allocated(gpu)
        free.append(min(free_bytes(torch.device("cuda", gpu)), int(own)))
    return max(min(free), 0)


def fitted(criterion: C, work: Workload, free: int) -> C:
    """The criterion with the largest batches that it says `free` bytes hold; as it is where its memory stays."""
    default = criterion.speed_fields() - criterion.model_fields_set
    values = {name: getattr(criterion, name) for name in default}
    sizes = {name: value for name, value in values.items() if isinstance(value, int) and not isinstance(value, bool)}
    if not sizes:
        return criterion
    best = criterion
    for doubling in range(1, _DOUBLINGS + 1):
        larger = criterion.model_copy(update={name: size << doubling for name, size in sizes.items()})
        if not best.memory(work) < larger.memory(work) <= SPARE * free:
            break
        best = larger
    for halving in range(1, _DOUBLINGS + 1):
        if best.memory(work) <= SPARE * free:
            break
        best = criterion.model_copy(update={name: max(size >> halving, 1) for name, size in sizes.items()})
    return best
