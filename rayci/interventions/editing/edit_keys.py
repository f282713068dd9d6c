"""What closed-form editors write into one projection: keys K, and what block L says now, from which R follows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rayci.interventions.activation_hooks import on_input, on_output, run, stop
from rayci.interventions.editing.edit_contexts import Example
from rayci.model import modules
from rayci.model.encoding import chunks
from rayci.subject import Subject


@torch.no_grad()
def keys_and_outputs(
    subject: Subject, layer: int, last: int, examples: Sequence[Example], batch: int
) -> tuple[Tensor, Tensor]:
    """K `[in, edits]` of `layer` and the output of block `last` at the bare prompt's lookup token `[hidden, edits]`.

    A key is one half bare prompt and one half the mean of the generated contexts.
    """
    keys: list[Tensor] = []
    outputs: list[Tensor] = []
    projection = modules.dense(subject.block(layer), subject.paths.mlp_out)
    for part in chunks(examples, batch):
        rows = [prompt for example in part for prompt in example.prompts]
        at = (torch.arange(len(rows)), torch.tensor([prompt.lookup for prompt in rows]))

        def read(hidden: Tensor, into: list[Tensor], at: tuple[Tensor, Tensor] = at, edits: int = len(part)) -> Tensor:
            by_row = hidden.reshape(len(at[0]), -1, hidden.shape[-1])  # OPT flattens rows and tokens
            into.append(by_row[at].float().unflatten(0, (edits, -1)))  # [edits, contexts, width]
            return hidden

        with (
            on_input(projection, lambda hidden: read(hidden, keys)),
            on_output(subject.block(last), lambda hidden: stop(read(hidden, outputs))),
        ):
            run(subject.model, [prompt.ids for prompt in rows])
    by_context = torch.cat(keys)
    return mean_key(by_context).T, torch.cat(outputs)[:, 0].T


def mean_key(by_context: Tensor) -> Tensor:
    """Half the first context (the bare prompt), half the mean of the others; `[edits, contexts, in]` in."""
    if by_context.shape[1] == 1:
        return by_context[:, 0]
    return (by_context[:, 0] + by_context[:, 1:].mean(1)) / 2
