"""Walk the decoder blocks in order, each on the outputs of the already compressed ones.

Only one block's inputs are kept, and its outputs take their place. The linears of a block are
observed while it is dense; linears that share an input are observed once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rayci.errors import InterventionError
from rayci.model import modules
from rayci.model.experts import DOWN, GATE_UP, Expert, expert_inputs
from rayci.model.streaming import states_device
from rayci.subject import Subject

Observer = Callable[[str, Tensor], None]
"""Called with the first path of a group and that group's input `[tokens, in]`."""


class _Captured(Exception):  # noqa: N818 - a signal, not an error
    """Stops a forward pass once all that is looked for has been seen."""


@dataclass
class BlockInputs:
    """A block and the calibration batches that reach it."""

    index: int
    name: str
    """Full module name of the block."""
    block: nn.Module
    groups: tuple[tuple[str, ...], ...]
    """Paths of the block's linears, grouped by shared input."""
    batches: list[tuple[Tensor, dict[str, Any]]]
    """Hidden states `[sequences, tokens, hidden]` and the other arguments, a batch each."""
    device: torch.device
    """Where the block computes; the states may be kept elsewhere."""
    advanced: bool = False
    """Whether the states are the block's outputs already."""

    def outputs(self) -> Iterator[Tensor]:
        """Outputs of the block as it is now, `[sequences, tokens, hidden]` for each batch in turn."""
        for hidden, rest in self.batches:
            with torch.no_grad():
                output = self.block(hidden.to(self.device), **rest)
            yield (output[0] if isinstance(output, tuple) else output).to(hidden.device)

    def advance(self, see: Callable[[Tensor, Tensor], None] | None = None) -> None:
        """Put the outputs of the block as it is now in the place of its inputs: what the next block gets.

        `see` is shown the inputs and the outputs of each batch.
        """
        for place, output in enumerate(self.outputs()):
            if see is not None:
                see(self.batches[place][0], output)
            self.batches[place] = (output, self.batches[place][1])  # no name holds the inputs any longer
        self.advanced = True

    def observe(self, observer: Observer, *, advance: bool = False) -> None:
        """Run the block once and show each group's input to `observer`; with `advance`, see there.

        A routed expert is shown the tokens that the router sends to it, and not called without any.
        """
        routed = self._routed()
        # The groups stand in the order of the computation: nothing after the last one's input matters.
        last = None if advance or routed else self.groups[-1][0]

        def show(path: str, args: tuple[Any, ...]) -> None:
            observer(path, args[0].flatten(0, -2))
            if path == last:
                raise _Captured

        with ExitStack() as hooks:
            for path, holder in routed.items():
                hooks.callback(holder.register_forward_pre_hook(_shower(path, observer)).remove)
            for path in (group[0] for group in self.groups):
                if not isinstance(modules.linear(self.block, path), Expert):
                    linear = modules.dense(self.block, path)
                    hook = linear.register_forward_pre_hook(lambda _, args, path=path: show(path, args))
                    hooks.callback(hook.remove)
            if advance:
                self.advance()
            else:
                self._pass()

    @torch.no_grad()
    def _pass(self) -> None:
        """Run the block for its hooks alone, as far as they let it."""
        for hidden, rest in self.batches:
            with suppress(_Captured):
                self.block(hidden.to(self.device), **rest)

    def white(self, method: str, path: str) -> str:
        """What a receipt says of an expert without a token; InterventionError for any other linear."""
        if not isinstance(modules.linear(self.block, path), Expert):
            raise InterventionError(f"{method}: {self.name}.{path} took no part in the forward pass")
        return f"{method}: no calibration token reaches {self.name}.{path}, white inputs were assumed"

    def _routed(self) -> dict[str, nn.Module]:
        """Path -> module of the routed experts in this block."""
        firsts = {group[0]: modules.linear(self.block, group[0]) for group in self.groups}
        experts = {path: module for path, module in firsts.items() if isinstance(module, Expert)}
        return {path.rsplit(".", 2)[0]: module.experts for path, module in experts.items()}


def _shower(path: str, observer: Observer) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    """A hook of the module of all experts that shows each expert's own inputs."""

    def show(holder: nn.Module, args: tuple[Any, ...]) -> None:
        for index, before, between in expert_inputs(holder, args[0], args[1]):
            observer(f"{path}.{index}.{GATE_UP}", before)
            observer(f"{path}.{index}.{DOWN}", between)

    return show


@torch.no_grad()
def walk(subject: Subject, tokens: Tensor, batch: int) -> Generator[BlockInputs]:
    """Yield every block with its inputs; the caller compresses it before asking for the next.

    `tokens` is int64 `[sequences, tokens]`, run `batch` sequences at a time.
    """
    hidden, arguments = _inputs(subject, tokens, batch)
    for index, block in enumerate(subject.blocks):
        batches = list(zip(hidden, arguments[index % len(arguments)], strict=True))
        hidden.clear()  # one list holds them, so that outputs can take the place of inputs
        groups, name = subject.paths.groups(block), f"{subject.paths.blocks}.{index}"
        with subject.placed(block):
            inputs = BlockInputs(index, name, block, groups, batches, next(block.parameters()).device)
            yield inputs
            if not inputs.advanced and index + 1 < len(subject.blocks):
                inputs.advance()
        hidden = [states for states, _ in batches]
        batches.clear()


def _inputs(subject: Subject, tokens: Tensor, batch: int) -> tuple[list[Tensor], list[list[dict[str, Any]]]]:
    """Hidden states of every batch before the first block; per block and batch the other arguments.

    Blocks of one kind get the same arguments, so the pass stops at the first. Where blocks
    differ (sliding and full attention in turn) it goes through, and each block keeps its own.
    Other arguments are masks and positions. `streaming.states_device` says where states are kept.
    """
    kinds = set(getattr(subject.model.config.get_text_config(), "layer_types", None) or ())
    watched = list(subject.blocks) if len(kinds) > 1 else [subject.blocks[0]]
    states: list[Tensor] = []
    arguments: list[list[dict[str, Any]]] = [[] for _ in watched]
    size = tokens.numel() * subject.hidden_size * subject.model.dtype.itemsize
    keep_on = states_device(subject.device, size)

    def capture(index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rest = dict(kwargs)
        hidden = args[0] if args else rest.pop("hidden_states")
        if index == 0:
            states.append(hidden.to(keep_on))
        known = (other for other in arguments[index] if _same(other, rest))
        arguments[index].append(next(known, rest))
        if index == len(watched) - 1:
            raise _Captured

    hooks = [
        block.register_forward_pre_hook(lambda _, args, kwargs, i=i: capture(i, args, kwargs), with_kwargs=True)
        for i, block in enumerate(watched)
    ]
    try:
        for part in tokens.split(batch):
            try:
                subject.model(input_ids=part.to(subject.device), use_cache=False)
            except _Captured:
                continue
    finally:
        for hook in hooks:
            hook.remove()
    return states, arguments


def _same(left: Any, right: Any) -> bool:
    """Whether two batches can share these arguments: masks and positions mostly are the same for all."""
    if isinstance(left, Tensor):
        return isinstance(right, Tensor) and left.shape == right.shape and left.equal(right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(value, right[key]) for key, value in left.items())
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    return left is right or (isinstance(left, (bool, int, str)) and left == right)
