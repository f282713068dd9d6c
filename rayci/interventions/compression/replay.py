"""Loops of small operations on a GPU, recorded once and replayed: what a launch costs is paid once.

A function of tensors that writes its results into them is recorded as a CUDA graph on tensors of its
own; a replay copies what is given in, and everything back. What runs is the function itself, operation
by operation, so the results are those of calling it. On a CPU it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Work = Callable[..., None]
"""Writes into the tensors that it gets; launches the same operations whenever their shapes are the same."""


class Run(Protocol):
    """Calls work with tensors."""

    def __call__(self, work: Work, *tensors: Tensor) -> None: ...


def directly(work: Work, *tensors: Tensor) -> None:
    """The plain call."""
    work(*tensors)


@dataclass(frozen=True)
class _Graph:
    """A recorded call."""

    graph: torch.cuda.CUDAGraph
    own: list[Tensor]

    def run(self, tensors: tuple[Tensor, ...]) -> None:
        for own, given in zip(self.own, tensors, strict=True):
            own.copy_(given)
        self.graph.replay()
        for own, given in zip(self.own, tensors, strict=True):
            given.copy_(own)


class Replays:
    """Runs work of one kind: tensors of the same shapes mean the same operations.

    A first call of every set of shapes is the plain one, which also loads what the operations need;
    the second is recorded. Where that fails all calls are plain, and `notes` says why.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._graphs: dict[tuple[object, ...], _Graph | None] = {}

    def __call__(self, work: Work, *tensors: Tensor) -> None:
        if tensors[0].is_cuda:
            with torch.cuda.device(tensors[0].device):
                self.replay(work, *tensors)
        else:
            work(*tensors)

    def replay(self, work: Work, *tensors: Tensor) -> None:
        """Replay, record or call the work."""
        shapes = tuple((tensor.device, tensor.dtype, tensor.shape) for tensor in tensors)
        if shapes not in self._graphs:
            self._graphs[shapes] = None
        elif not self.notes and self._graphs[shapes] is None:
            self._graphs[shapes] = self._record(work, tensors)
        recorded = self._graphs[shapes]
        if recorded is None:
            work(*tensors)
        else:
            recorded.run(tensors)

    def _record(self, work: Work, tensors: tuple[Tensor, ...]) -> _Graph | None:
        try:
            graph, own = torch.cuda.CUDAGraph(), [tensor.clone() for tensor in tensors]
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                work(*own)
        except RuntimeError as error:  # torch's own, out of memory included: what was given is untouched
            reason = str(error).strip().splitlines()[0]
            self.notes.append(f"the loop over columns ran without a CUDA graph, which takes longer: {reason}")
            return None
        return _Graph(graph, own)
