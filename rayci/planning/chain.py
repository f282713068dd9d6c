"""From a composition to the chain that is applied: where compressors run again, and as what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rayci.intervention import Compressor, Intervention
from rayci.kinds import Recompress
from rayci.planning.composition import Composition, Step

_PUBLISHED_REFIT = frozenset({"gptq", "wanda", "sparsegpt"})
"""Compressors that the code of arXiv 2407.06483 ran again after an edit; its AWQ it did not."""


@dataclass(frozen=True, slots=True)
class Link:
    """One applied step."""

    step: Step
    intervention: Intervention
    recompression: str | None
    """`refit` or `reproject` where the step re-compresses, None where it was asked for."""

    def __str__(self) -> str:
        return f"{self.recompression}({self.step})" if self.recompression else str(self.step)


def chain_of(
    composition: Composition, configure: Callable[[Step], Intervention], policy: Recompress
) -> tuple[Link, ...]:
    """Asked steps with the policy's re-compression steps between them.

    A run of edits, unlearnings and trainings is closed by the compressors that stand directly before
    it, in their order; compressor after compressor alone triggers nothing.
    """
    chain: list[Link] = []
    block: list[Link] = []  # the compressors directly before the current run
    open_run = False
    for step in composition.steps:
        link = Link(step, configure(step), None)
        if isinstance(link.intervention, Compressor):
            if open_run:
                chain += _again(block, policy)
                block, open_run = [], False
            block.append(link)
        else:
            open_run = True
        chain.append(link)
    return tuple(chain + (_again(block, policy) if open_run else []))


def _again(block: list[Link], policy: Recompress) -> list[Link]:
    if policy is Recompress.PUBLISHED:
        block = [link for link in block if link.step.method in _PUBLISHED_REFIT]
    how = {Recompress.NEVER: None, Recompress.REPROJECT: "reproject"}.get(policy, "refit")
    return [Link(link.step, link.intervention, how) for link in block] if how else []
