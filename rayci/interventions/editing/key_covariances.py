"""Step 4 of a closed-form editor: C = mean of k·kᵀ over the tokens of a text, k the input of a rewritten projection.

It is an object of the stage that the editor starts from (`Context.built`), named by the layers and the drawn text: edit
batches, editors and workers share it, and a compressed or edited model never meets another one's statistics. How many
rows pass the model at once is no part of the name, as it is none of a stage's.

The text is the part `covariance_text` of the data; calibration text or tokens stand in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rayci.context import Context
from rayci.data.mapped_documents import fingerprint_of
from rayci.errors import DataError
from rayci.fingerprint import fingerprint
from rayci.interventions.activation_hooks import Row, on_input, on_output, run, stop
from rayci.interventions.gram import Gram
from rayci.model import modules
from rayci.model.encoding import chunks, prompt_ids
from rayci.model.token_cache import identity as tokenizer_identity
from rayci.model.token_cache import kept_rows
from rayci.subject import Subject

FORM = 1
"""Raised when C of the same rows changes, or how it is kept."""


@dataclass(frozen=True, slots=True)
class TextStatistics:
    """What a formula knows of the keys of ordinary text."""

    by_layer: Mapping[int, Tensor]
    """C of each layer, or what is made of it; fp32 on the CPU."""
    documents: int
    tokens: int
    notes: tuple[str, ...] = ()
    """What the receipt must say of it."""


@dataclass(frozen=True, slots=True)
class CovarianceText:
    """At most `documents` texts in drawn order, each cut to `max_tokens` and the model's context."""

    subject: Subject
    context: Context
    documents: int
    max_tokens: int

    def rows(self) -> Sequence[Row]:
        """Tokens of each text; of a large corpus once for all processes of a node."""
        if self.context.tokens is not None:
            return self._given(self.context.tokens)
        texts = self.context.data.part("covariance_text")
        return kept_rows(self.subject.tokenizer, texts, ["covariance", *self._draw], self._encoded)

    @property
    def _limit(self) -> int:
        return min(self.max_tokens, self.subject.context_length)

    @property
    def _draw(self) -> list[int]:
        return [self.context.sweep_seed, self.context.seed, self.documents, self._limit]

    def _given(self, tokens: Tensor) -> list[list[int]]:
        return tokens[: self.documents, : self._limit].tolist()

    def _encoded(self) -> Iterator[list[int]]:
        """The rows one by one, for who does not need all."""
        if self.context.tokens is not None:
            yield from self._given(self.context.tokens)
            return
        texts = self.context.data.part("covariance_text")
        order = list(range(len(texts)))
        self.context.random("memit covariance").shuffle(order)
        for place in order[: self.documents]:
            yield prompt_ids(self.subject.tokenizer, texts[place].text)[: self._limit]

    def identity(self) -> dict[str, Any]:
        """All that decides the rows, told without making them."""
        if self.context.tokens is not None:
            return {"tokens": fingerprint(self._given(self.context.tokens))}
        text = fingerprint_of(self.context.data.part("covariance_text"))
        return {"text": text, "tokenizer": tokenizer_identity(self.subject.tokenizer), "draw": self._draw}

    def _described(self, layers: Sequence[int]) -> dict[str, Any]:
        """All that decides C of these layers beside the model, and so what is made of it."""
        return {"covariances": FORM, "projection": self.subject.paths.mlp_out, "layers": list(layers)} | self.identity()

    def covariances(self, layers: Sequence[int], batch: int) -> TextStatistics:
        """C `[in, in]` of each layer of the model as it is now."""
        return self.built(layers, {}, lambda: self._covariances(layers, batch))

    def built(
        self, layers: Sequence[int], what: Mapping[str, Any], make: Callable[[], TextStatistics]
    ) -> TextStatistics:
        """C of these layers, or `what` is made of it: built once, whoever asks (`Context.built`), without notes."""

        def packed() -> dict[str, Tensor]:
            made = make()
            size = torch.tensor([made.documents, made.tokens])
            return {"size": size, **{str(layer): value for layer, value in made.by_layer.items()}}

        found = self.context.built(self.subject, {**what, **self._described(layers)}, packed)
        documents, tokens = found["size"].tolist()
        return TextStatistics({layer: found[str(layer)] for layer in layers}, documents, tokens)

    def _covariances(self, layers: Sequence[int], batch: int) -> TextStatistics:
        rows = self.rows()
        return TextStatistics(covariances(self.subject, layers, rows, batch), len(rows), sum(map(len, rows)))

    def check(self, layers: Sequence[int]) -> None:
        """DataError where the text has fewer tokens than a rewritten projection inputs: C would be singular.

        Reads no more of the text than it takes to know.
        """
        projection = self.subject.paths.mlp_out
        linears = [modules.linear(self.subject.block(layer), projection) for layer in layers]
        channels = max(modules.weight(linear).shape[1] for linear in linears)
        tokens = 0
        for row in self._encoded():
            tokens += len(row)
            if tokens >= channels:
                return
        sources = self.context.data.sources
        raise DataError(
            f"the covariance text holds {tokens} tokens, fewer than the {channels} inputs of {projection}",
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


@torch.no_grad()
def covariances(subject: Subject, layers: Sequence[int], rows: Sequence[Row], batch: int) -> dict[int, Tensor]:
    """C of each layer, fp32 `[in, in]` on the CPU, for the model as it is now.

    Rows of equal length stand together, so that hardly any padding is computed; the longest come first, so that
    a batch that does not fit is found at once.
    """
    grams: dict[int, Gram] = {}
    for part in chunks(sorted(rows, key=len, reverse=True), batch):
        lengths = torch.tensor([len(row) for row in part])
        real = torch.arange(int(lengths.max())) < lengths[:, None]

        def add(hidden: Tensor, layer: int, real: Tensor = real) -> Tensor:
            keys = hidden.flatten(0, -2)[real.flatten().to(hidden.device)]
            grams.setdefault(layer, Gram(keys.shape[1], keys.device)).add(keys)
            return hidden

        with ExitStack() as hooks:
            for layer in layers:
                projection = modules.dense(subject.block(layer), subject.paths.mlp_out)
                hooks.enter_context(on_input(projection, partial(add, layer=layer)))
            hooks.enter_context(on_output(subject.block(max(layers)), stop))
            run(subject.model, part)
    return {layer: gram.mean().cpu() for layer, gram in grams.items()}
