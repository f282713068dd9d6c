"""The most accelerator memory that a piece of work held."""

from __future__ import annotations

import torch


class PeakMemory:
    """`with PeakMemory(device) as peak:`; then `peak.bytes`, over all GPUs that this process sees.

    Tensors that were there before count. None on a CPU, where nothing tells a process's peak from
    that of work before.
    """

    def __init__(self, device: torch.device) -> None:
        self.bytes: int | None = None
        self._gpus = range(torch.cuda.device_count()) if device.type == "cuda" else ()

    def __enter__(self) -> PeakMemory:
        for gpu in self._gpus:
            torch.cuda.reset_peak_memory_stats(gpu)
        return self

    def __exit__(self, *_: object) -> None:
        if self._gpus:
            self.bytes = sum(torch.cuda.max_memory_allocated(gpu) for gpu in self._gpus)
