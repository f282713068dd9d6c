"""Reading and changing activations of a few modules, with hooks that cannot leak."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from rayci.model.token_cache import TokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Row = Sequence[int] | TokenIds
"""Tokens of one text."""


def first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The hidden states in a block's output, which is a tensor or a tuple that begins with it."""
    return output[0] if isinstance(output, tuple) else output


@contextmanager
def on_output(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Pass the module's output (of a tuple, the first part) through `change`."""

    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        changed = change(first(output))
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def on_input(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Pass the module's input through `change`."""
    handle = module.register_forward_pre_hook(lambda _, args: (change(args[0]), *args[1:]))
    try:
        yield
    finally:
        handle.remove()


class _Enough(Exception):  # noqa: N818 - a signal, not an error
    """Ends a forward pass when the last wanted activation is known."""


def stop(_hidden: Tensor) -> Tensor:
    """For `on_output`: what comes after this module is not computed."""
    raise _Enough


def until_stop() -> AbstractContextManager[None]:
    """Inside, a forward pass may end at `stop`."""
    return suppress(_Enough)


def run(model: PreTrainedModel, rows: Sequence[Row]) -> None:
    """Forward right-padded rows, until the end or `stop`; activations are taken by hooks."""
    device = model.get_input_embeddings().weight.device
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True).long().to(device)  # type: ignore[arg-type]
    lengths = torch.tensor([len(row) for row in rows])
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long().to(device)  # type: ignore[arg-type]
    with until_stop():
        model(input_ids=ids, attention_mask=mask, use_cache=False)


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No parameter takes part in differentiation inside."""
    flags = [(value, value.requires_grad) for value in model.parameters()]
    try:
        for value, _ in flags:
            value.requires_grad_(False)
        yield
    finally:
        for value, flag in flags:
            value.requires_grad_(flag)
