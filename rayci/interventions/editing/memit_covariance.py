"""MEMIT, step 4: C = mean of k·kᵀ over the tokens of a text, k the input of a rewritten projection.

Kept in memory under the content that decides it: the weights that come before the projection,
the tokens, the layer. A compressed or edited model never meets another one's statistics.

The text is the part `covariance_text` of the data; calibration text or tokens stand in for it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rayci.context import Context
from rayci.errors import DataError
from rayci.fingerprint import fingerprint
from rayci.interventions.editing.memit_hooks import on_input, on_output, run, stop
from rayci.model import modules
from rayci.model.encoding import chunks, prompt_ids
from rayci.subject import Subject

CACHE_BYTES = 8 << 30
"""Most memory that kept covariances take; the oldest go first. Llama-3-8B's five layers take 4 GiB."""
_CACHE: OrderedDict[str, Tensor] = OrderedDict()


@dataclass(frozen=True, slots=True)
class CovarianceText:
    """At most `documents` texts in drawn order, each cut to `max_tokens` and the model's context."""

    subject: Subject
    context: Context
    documents: int
    max_tokens: int

    def rows(self) -> Iterator[list[int]]:
        """Tokens of each text."""
        limit = min(self.max_tokens, self.subject.context_length)
        if self.context.tokens is not None:
            yield from (row[:limit] for row in self.context.tokens[: self.documents].tolist())
            return
        texts = self.context.data.part("covariance_text")
        order = list(range(len(texts)))
        self.context.random("memit covariance").shuffle(order)
        for place in order[: self.documents]:
            yield prompt_ids(self.subject.tokenizer, texts[place].text)[:limit]

    def check(self, layers: Sequence[int]) -> None:
        """DataError where the text has fewer tokens than a rewritten projection inputs: C would be singular.

        Reads no more of the text than it takes to know.
        """
        projection = self.subject.paths.mlp_out
        linears = [modules.linear(self.subject.block(layer), projection) for layer in layers]
        channels = max(modules.weight(linear).shape[1] for linear in linears)
        tokens = 0
        for row in self.rows():
            tokens += len(row)
            if tokens >= channels:
                return
        sources = self.context.data.sources
        raise DataError(
            f"memit: the covariance text holds {tokens} tokens, fewer than the {channels} inputs of {projection}",
            at=sources.get("covariance_text", sources.get("calibration", "covariance_text")),
            hint="more covariance_text (calibration text stands in for it), or larger documents and max_tokens",
        )

    def notes(self, documents: int) -> tuple[str, ...]:
        """What is otherwise than asked, where there were so many documents."""
        notes = []
        if self.context.tokens is not None or not self.context.data.covariance_text:
            notes.append("calibration text stood in for covariance_text, which the data does not have")
        if documents < self.documents:
            notes.append(f"covariances of {documents} documents, {self.documents} were asked for")
        return tuple(notes)


def covariances(subject: Subject, layers: Sequence[int], rows: Sequence[list[int]], batch: int) -> dict[int, Tensor]:
    """C of each layer, fp32 `[in, in]` on the CPU, for the model as it is now."""
    keys = dict(zip(layers, _keys(subject, layers, rows, batch), strict=True))
    missing = [layer for layer in layers if keys[layer] not in _CACHE]
    by_layer = _accumulate(subject, missing, rows, batch) if missing else {}
    for layer in layers:
        by_layer[layer] = by_layer[layer] if layer in by_layer else _CACHE[keys[layer]]
        _CACHE[keys[layer]] = by_layer[layer]
        _CACHE.move_to_end(keys[layer])
    while len(_CACHE) > 1 and sum(value.nbytes for value in _CACHE.values()) > CACHE_BYTES:
        _CACHE.popitem(last=False)
    return by_layer


@torch.no_grad()
def _accumulate(subject: Subject, layers: Sequence[int], rows: Sequence[list[int]], batch: int) -> dict[int, Tensor]:
    sums: dict[int, Tensor] = {}
    tokens = 0
    for part in chunks(rows, batch):
        real = torch.tensor([[i < len(row) for i in range(max(map(len, part)))] for row in part])
        tokens += int(real.sum())

        def add(hidden: Tensor, layer: int, real: Tensor = real) -> Tensor:
            keys = hidden.flatten(0, -2)[real.flatten().to(hidden.device)].float()
            sums[layer] = sums[layer].addmm_(keys.T, keys) if layer in sums else keys.T @ keys
            return hidden

        with ExitStack() as hooks:
            for layer in layers:
                projection = modules.dense(subject.block(layer), subject.paths.mlp_out)
                hooks.enter_context(on_input(projection, partial(add, layer=layer)))
            hooks.enter_context(on_output(subject.block(max(layers)), stop))
            run(subject.model, part)
    return {layer: (value / tokens).cpu() for layer, value in sums.items()}


def _keys(subject: Subject, layers: Sequence[int], rows: Sequence[list[int]], batch: int) -> list[str]:
    """The identity of each layer's C. `batch` is part of it: it decides the order of the sums, so the bits."""
    last, root = max(layers), f"{subject.paths.blocks}."
    weights: list[tuple[int, str, str]] = []
    for name, value in subject.model.named_parameters():
        block = int(name.removeprefix(root).split(".")[0]) if name.startswith(root) else -1
        if block <= last:
            weights.append((block, name, _digest(value)))
    text, config = fingerprint(list(rows)), subject.model.config.to_json_string()
    return [
        fingerprint([layer, batch, text, config, [entry for entry in weights if entry[0] <= layer]]) for layer in layers
    ]


def _digest(value: Tensor) -> str:
    data = value.detach().cpu().contiguous()
    return hashlib.sha256(
        f"{data.dtype} {tuple(data.shape)}".encode() + data.view(torch.uint8).numpy().data
    ).hexdigest()
