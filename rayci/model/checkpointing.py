"""Decoder blocks that keep their inputs alone for the backward pass, which runs each of them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def checkpointed(blocks: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, every pass of a block that takes gradients is made again when its gradients are.

    The graph of one block is held at a time in place of those of all. Results are the same bit for bit on a CPU;
    hooks on a block run once, outside of what is made again. The passes take no cache of keys and values.
    """
    own = {block: vars(block).get("forward") for block in blocks}  # accelerate puts one on the block itself
    for block in own:
        vars(block)["forward"] = _again(block.forward)
    try:
        yield
    finally:
        for block, forward in own.items():
            if forward is None:
                del vars(block)["forward"]
            else:
                vars(block)["forward"] = forward


def _again(forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*given: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*given, **named)
        return checkpoint(forward, *given, use_reentrant=False, preserve_rng_state=False, **named)

    return run
