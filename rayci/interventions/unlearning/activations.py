"""Hidden states after a decoder block, with shifts added on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from torch import Tensor
from torch.func import functional_call

from rayci.interventions.activation_hooks import on_output, stop, until_stop
from rayci.interventions.predictions import frugal
from rayci.model.encoding import Batch
from rayci.model.step_memory import StepMemory
from rayci.subject import Subject


@contextmanager
def shifted(subject: Subject, shifts: Mapping[int, Tensor]) -> Iterator[None]:
    """Inside, each shift `[items, tokens, hidden]` is added to the states that leave its block."""
    with ExitStack() as stack:
        for layer, shift in shifts.items():
            stack.enter_context(on_output(subject.block(layer), _adding(shift)))
        yield


def block_output(
    subject: Subject,
    layer: int,
    batch: Batch,
    weights: Mapping[str, Tensor] | None = None,
    shifts: Mapping[int, Tensor] | None = None,
) -> Tensor:
    """States after block `layer`, fp32 `[items, tokens, hidden]`; `weights` stand in for the model's own.

    The forward pass ends there.
    """
    caught: list[Tensor] = []

    def catch(states: Tensor) -> Tensor:
        caught.append(states)
        return stop(states)

    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "use_cache": False}
    graph = StepMemory(subject).graph_bytes(batch.input_ids.numel(), layer + 1)
    with ExitStack() as stack:
        stack.enter_context(shifted(subject, shifts or {}))
        stack.enter_context(frugal(subject, graph))
        stack.enter_context(on_output(subject.block(layer), catch))
        stack.enter_context(until_stop())
        functional_call(subject.model, dict(weights or {}), args=(), kwargs=inputs)
    return caught[0].float()


def masked_mse(states: Tensor, target: Tensor, mask: Tensor, tokens: int | None = None) -> Tensor:
    """Mean squared difference over the elements of unmasked tokens; mask is `[items, tokens]`.

    Where the batch is one part of another that has `tokens` unmasked ones: its share of the mean over that.
    """
    target, mask = target.to(states.device), mask.to(states.device)
    squared = (states - target).square() * mask.unsqueeze(-1)
    return squared.sum() / ((mask.sum() if tokens is None else tokens) * states.shape[-1])


def _adding(shift: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda states: states + shift.to(states)
