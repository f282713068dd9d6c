"""MEMIT, step 4: C = mean of k·kᵀ over the tokens of a text, k the input of a rewritten projection.

Kept in memory under the content that decides it: the weights that come before the projection,
the tokens, the layer. A compressed or edited model never meets another one's statistics.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
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


def covariance_rows(subject: Subject, context: Context, documents: int, max_tokens: int) -> list[list[int]]:
    """Tokens of at most `documents` texts in drawn order, each cut to `max_tokens` and the model's context."""
    limit = min(max_tokens, subject.context_length)
    if context.tokens is not None:
        return [row[:limit] for row in context.tokens[:documents].tolist()]
    texts = list(context.data.calibration)
    context.random("memit covariance").shuffle(texts)
    rows = [prompt_ids(subject.tokenizer, document.text)[:limit] for document in texts[:documents]]
    if not rows:
        raise DataError(
            "memit needs calibration text for its covariances, there is none",
            at=context.data.sources.get("calibration", "calibration"),
        )
    return rows


def covariances(subject: Subject, layers: Sequence[int], rows: Sequence[list[int]], batch: int) -> dict[int, Tensor]:
    """C of each layer, fp32 `[in, in]` on the CPU, for the model as it is now."""
    keys = dict(zip(layers, _keys(subject, layers, rows, batch), strict=True))
    missing = [layer for layer in layers if keys[layer] not in _CACHE]
    found = _accumulate(subject, missing, rows, batch) if missing else {}
    for layer in layers:
        found[layer] = found[layer] if layer in found else _CACHE[keys[layer]]
        _CACHE[keys[layer]] = found[layer]
        _CACHE.move_to_end(keys[layer])
    while len(_CACHE) > 1 and sum(value.nbytes for value in _CACHE.values()) > CACHE_BYTES:
        _CACHE.popitem(last=False)
    return found


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
