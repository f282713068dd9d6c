"""Forward passes of the search for z that compute only what δ can change.

δ enters at the output of block L at the lookup token. Blocks up to L, and all tokens before
the lookup token, never see it: they run once. Rows are padded so that all lookup tokens stand
in one column; keys and values of the columns before it are kept, and every pass runs the
columns from there on through the blocks after L. Logits are computed where they are read.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rayci.interventions.activation_hooks import on_input, on_output
from rayci.interventions.editing.edit_contexts import Example
from rayci.model import modules
from rayci.subject import Subject

if TYPE_CHECKING:
    from transformers import DynamicCache


@dataclass(frozen=True, slots=True)
class Reading:
    """What one pass says about each edit."""

    target_loss: Tensor
    """Mean over contexts of the mean negative log-likelihood of the target's tokens, nats, `[edits]`."""
    essence: Tensor
    """Log-probabilities at the essence prompt's lookup token, `[edits, vocabulary]`."""


class Passes:
    """The prompts of some edits, run once; `read` then runs what comes after the lookup tokens."""

    def __init__(self, subject: Subject, layer: int, examples: Sequence[Example]) -> None:
        self._model, self._examples = subject.model, examples
        self._blocks = [subject.block(index) for index in range(layer + 1)]
        self._projection = modules.dense(self._blocks[-1], subject.paths.mlp_out)
        self._contexts = len(examples[0].prompts)
        prompts = [prompt for example in examples for prompt in (*example.prompts, example.essence)]
        tails = [tail for example in examples for tail in (*[example.target[:-1]] * self._contexts, [])]
        self._lookups = [prompt.lookup for prompt in prompts]
        self._column = max(self._lookups)
        """Column of all lookup tokens."""
        pad = int(subject.tokenizer.pad_token_id or 0)
        rows = [prompt.ids + tail for prompt, tail in zip(prompts, tails, strict=True)]
        before = [self._column - lookup for lookup in self._lookups]
        width = max(gap + len(row) for gap, row in zip(before, rows, strict=True))
        filled = [[pad] * gap + row + [pad] * (width - gap - len(row)) for gap, row in zip(before, rows, strict=True)]
        real = [
            [0] * gap + [1] * len(row) + [0] * (width - gap - len(row)) for gap, row in zip(before, rows, strict=True)
        ]
        self._ids, self._mask = torch.tensor(filled, device=subject.device), torch.tensor(real, device=subject.device)
        self._first()

    @torch.no_grad()
    def _first(self) -> None:
        """Run all rows without δ; keep block L's output and the keys and values before the lookup column."""
        from transformers import DynamicCache

        cache = DynamicCache()
        seen: list[Tensor] = []
        written: list[Tensor] = []
        kinds: list[type] = []
        head = self._model.get_output_embeddings()
        handle = self._blocks[-1].register_forward_hook(lambda _, _args, output: kinds.append(type(output)))
        try:
            with (
                on_output(self._projection, partial(_note, written)),
                on_output(self._blocks[-1], partial(_note, seen)),
                on_input(head, lambda hidden: hidden[:, :1]),
            ):
                self._forward(self._ids, self._mask, slice(0, None), cache)
        finally:
            handle.remove()
        self._tuples = issubclass(kinds[0], tuple)
        self._hidden = seen[0][:, self._column :]
        size = self._contexts + 1
        self.start = self._hidden[::size, 0].float()
        """h₀: block L's output at the lookup token of the bare prompt, fp32 `[edits, hidden]`."""
        by_row = written[0].reshape(len(self._ids), -1, self._hidden.shape[-1])  # OPT flattens rows and tokens
        self.mlp = by_row[::size, self._column].float()
        """What block L's MLP writes there, fp32 `[edits, hidden]`."""
        layers: Any = cache.layers
        self._kept = [(kept.keys[:, :, : self._column], kept.values[:, :, : self._column]) for kept in layers]

    def read(self, edits: Sequence[int], delta: Tensor) -> Reading:
        """One pass over these edits with δ `[edits, hidden]` in place, differentiable in δ."""
        size = self._contexts + 1
        rows = torch.tensor([edit * size + i for edit in edits for i in range(size)], device=self._ids.device)
        hidden = self._hidden[rows.to(self._hidden.device)]
        shifted = hidden[:, :1] + delta.repeat_interleave(size, 0).unsqueeze(1).to(hidden.dtype)
        inserted = torch.cat([shifted, hidden[:, 1:]], dim=1)
        scored, tokens = self._scored(edits)
        essences = [(place * size + size - 1, 0) for place in range(len(edits))]
        wanted = torch.tensor([*scored, *essences]).T
        logits: list[Tensor] = []
        head = self._model.get_output_embeddings()
        with (
            torch.enable_grad(),
            _replaced(self._blocks, (inserted,) if self._tuples else inserted),
            on_input(head, lambda states: states[tuple(wanted.to(states.device))].unsqueeze(0)),
            on_output(head, partial(_note, logits)),
        ):
            self._forward(self._ids[rows], self._mask[rows], slice(self._column, None), self._cache(rows))
        log_probs = torch.log_softmax(logits[0][0].float(), dim=-1).to(delta.device)
        picked = log_probs[: len(tokens)].gather(1, torch.tensor(tokens, device=delta.device)[:, None])[:, 0]
        sizes = [self._contexts * len(self._examples[edit].target) for edit in edits]
        # all of an edit's contexts end in the same target, so one mean is the mean of means
        return Reading(torch.stack([-part.mean() for part in picked.split(sizes)]), log_probs[len(tokens) :])

    def _scored(self, edits: Sequence[int]) -> tuple[list[tuple[int, int]], list[int]]:
        """(row, column after the lookup token) before each target token, and the token."""
        size = self._contexts + 1
        places, tokens = [], []
        for place, edit in enumerate(edits):
            example = self._examples[edit]
            for row, prompt in enumerate(example.prompts):
                begin = len(prompt.ids) - 1 - prompt.lookup
                places += [(place * size + row, begin + i) for i in range(len(example.target))]
                tokens += example.target
        return places, tokens

    def _cache(self, rows: Tensor) -> DynamicCache | None:
        if self._column == 0:
            return None
        from transformers import DynamicCache

        cache = DynamicCache()
        for index, (keys, values) in enumerate(self._kept):
            here = rows.to(keys.device)
            cache.update(keys[here], values[here], index)
        return cache

    def _forward(self, ids: Tensor, mask: Tensor, columns: slice, cache: DynamicCache | None) -> None:
        inputs: dict[str, Any] = {"past_key_values": cache, "use_cache": cache is not None}
        if "position_ids" in inspect.signature(self._model.forward).parameters:  # else positions follow the mask
            inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, columns]
        self._model(input_ids=ids[:, columns], attention_mask=mask, **inputs)


def _note(into: list[Tensor], value: Tensor) -> Tensor:
    into.append(value)
    return value


@contextmanager
def _replaced(blocks: Sequence[nn.Module], value: Any) -> Iterator[None]:
    """Blocks that return `value` without computing anything."""
    with ExitStack() as stack:
        for block in blocks:
            before = block.__dict__.get("forward")

            def put_back(block: nn.Module = block, before: Any = before) -> None:
                del block.forward
                if before is not None:
                    block.forward = before

            block.forward = lambda *_args, **_kwargs: value
            stack.callback(put_back)
        yield
