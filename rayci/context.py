"""What an intervention or criterion may read besides the subject: data and seeded draws."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rayci.data.records import STANDS_IN, Collection, Document, EditRecord
from rayci.errors import DataError, RequestError, caught
from rayci.fingerprint import derive_seed
from rayci.model.built_objects import IN_MEMORY, Build, Objects
from rayci.settings import Settings, batch_of, edit_batch_number

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from rayci.subject import Subject


@dataclass(frozen=True)
class Context:
    """Data and random streams of one (seed, edit batch).

    Streams derive from (sweep seed, seed index, purpose) and, only where asked, the edit
    batch; never from γ, order or fingerprint. Curves of both orders thus see the same
    draws and differ by the treatment alone (common random numbers).
    """

    data: Collection
    sweep_seed: int = 0
    seed: int = 0
    replicate: int = 0
    batch_size: int = 50
    replicates: int = 1
    """Replicates of the sweep, each of which has edit batches of its own."""
    batch: int = 0
    """Which of the replicate's edit batches is read, see `of`."""
    reference: Sequence[Any] | None = None
    """Stage-0 records of the criterion that is being measured, where it `compares`."""
    tokens: Tensor | None = field(default=None, repr=False)
    """Calibration tokens given directly, int64 `[sequences, tokens]`: taken as they are, in place of text."""

    objects: Objects = field(default=IN_MEMORY, repr=False, compare=False)
    """Where `built` keeps what it is given: memory, or in a sweep the stage store."""

    def random(self, purpose: str, *, per_batch: bool = False) -> random.Random:
        """A seeded Python stream for one purpose."""
        return random.Random(self._seed(purpose, per_batch))

    def generator(self, purpose: str, *, per_batch: bool = False) -> torch.Generator:
        """A seeded torch stream for one purpose, on the CPU so that devices agree."""
        import torch

        return torch.Generator().manual_seed(self._seed(purpose, per_batch))

    def _seed(self, purpose: str, per_batch: bool) -> int:
        return derive_seed(self.sweep_seed, self.seed, purpose, *((self.edit_batch,) if per_batch else ()))

    def of(self, method: Settings) -> Context:
        """The same context with the edit batch that the settings of a method or a criterion name."""
        return replace(self, batch=batch_of(method))

    def with_reference(self, records: Sequence[Any] | None) -> Context:
        """The same context with the stage-0 records of a criterion."""
        return replace(self, reference=records)

    def built(self, subject: Subject, what: Any, build: Build) -> Mapping[str, Tensor]:
        """Tensors on the CPU, to be read, that `build` makes of the subject's weights as they are now.

        `what` says, as JSON values, all else that decides them. They are built once for all workers and steps that
        ask for the same, so ask before a weight is changed.
        """
        return self.objects.built(subject.model, what, build)

    @property
    def edit_batch(self) -> int:
        """The number of the edit batch among all of the data."""
        return edit_batch_number(self.replicate, self.batch, self.replicates)

    @property
    def edits(self) -> tuple[EditRecord, ...]:
        """The edit batch."""
        return edit_batch(self.data, self.sweep_seed, self.edit_batch, self.batch_size)

    def has(self, part: str) -> bool:
        """Whether a part of the data holds something; calibration tokens stand for calibration text."""
        return self.as_tokens(part) or bool(self.data.part(part))

    def as_tokens(self, part: str) -> bool:
        """Whether a part is given as tokens in place of text."""
        return self.tokens is not None and STANDS_IN.get(part, part) == "calibration"

    def faults(self, reader: str, needs: Iterable[str]) -> Iterator[RequestError]:
        """Which of the parts that a reader needs are missing, or hold less than an edit batch."""
        for part in sorted(needs):
            if not self.has(part):
                wanted = f"{part} or {STANDS_IN[part]}" if part in STANDS_IN else part
                yield DataError(
                    f"{reader} needs {part}, which the data does not have",
                    allowed=", ".join(self.data.supplied) or "no data was given",
                    hint=f"add {wanted} to the data ({part}.jsonl in its folder), or leave {reader} out",
                )
            elif part == "edits":
                yield from caught(lambda: self.edits)

    def calibration(self, tokenizer: PreTrainedTokenizerBase, sequences: int, length: int) -> Tensor:
        """`sequences` windows of `length` tokens of the calibration text, int64, in drawn order.

        Documents are shuffled by the seed, joined with an end-of-text token between them and
        cut into windows. Raises DataError where the text is too short.
        """
        stream = drawn_ids(tokenizer, self.data.calibration, self._seed("calibration", False), sequences * length)
        if len(stream) < sequences * length:
            raise DataError(
                f"calibration text holds {len(stream) // length} sequences of {length} tokens, "
                f"{sequences} were asked for",
                at=self.data.sources.get("calibration", "calibration"),
                hint="more calibration text, fewer `sequences` or a smaller `length`",
            )
        return stream.view(sequences, length)


def drawn_ids(tokenizer: PreTrainedTokenizerBase, documents: Sequence[Document], seed: int, most: int) -> Tensor:
    """The first `most` tokens of the shuffled documents, int64 `[tokens]`; all where there are fewer."""
    import torch

    from rayci.model.token_cache import kept_rows

    if isinstance(documents, tuple):
        return _of_a_tuple(documents, seed, tokenizer, most)
    how = ["drawn", seed, most]
    (ids,) = kept_rows(tokenizer, documents, how, lambda: [_stream(documents, seed, tokenizer, most)])
    return torch.tensor(ids, dtype=torch.int64)


@lru_cache(maxsize=4)  # asked for when a chain is checked, when a step is, and when it is applied
def _of_a_tuple(documents: tuple[Document, ...], seed: int, tokenizer: PreTrainedTokenizerBase, most: int) -> Tensor:
    import torch

    return torch.tensor(_stream(documents, seed, tokenizer, most), dtype=torch.int64)


def _stream(documents: Sequence[Document], seed: int, tokenizer: PreTrainedTokenizerBase, most: int) -> list[int]:
    order = list(range(len(documents)))
    random.Random(seed).shuffle(order)
    separator = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    stream: list[int] = []
    for place in order:
        stream += tokenizer(documents[place].text, add_special_tokens=False)["input_ids"] + separator
        if len(stream) >= most:
            break
    return stream[:most]


def edit_batch(data: Collection, sweep_seed: int, number: int, size: int) -> tuple[EditRecord, ...]:
    """Batch n = items [n·size, (n+1)·size) of one seeded shuffle of all edits, or of their published order."""
    first, end, there = number * size, (number + 1) * size, len(data.edits)
    if end > there:
        raise DataError(
            f"edit batch {number} needs edits {first} to {end}, there are {there}",
            at=data.sources.get("edits", "edits"),
            hint="fewer replicates, fewer or smaller edit batches, or more edits",
        )
    if "edits" in data.arranged:
        return tuple(data.edits[first:end])
    places = _shuffled(there, derive_seed(sweep_seed, "edit batches"))[first:end]
    return tuple(data.edits[place] for place in places)


@lru_cache(maxsize=4)  # a plan of a hundred batches asks for each of them several times
def _shuffled(count: int, seed: int) -> tuple[int, ...]:
    places = list(range(count))
    random.Random(seed).shuffle(places)
    return tuple(places)


def token_faults(tokens: Tensor, vocabulary: int) -> Iterator[RequestError]:
    """What is wrong with calibration tokens that were given for a model that knows so many ids."""
    import torch

    allowed = f"int64 of shape [sequences, tokens], ids from 0 to {vocabulary - 1}"
    if tokens.ndim != 2 or tokens.dtype != torch.int64:
        yield DataError(f"calibration is {tokens.dtype} of shape {tuple(tokens.shape)}", allowed=allowed)
    elif tokens.shape[0] < 1 or tokens.shape[1] < 2:
        yield DataError(f"calibration of shape {tuple(tokens.shape)} holds no sequence of two tokens", allowed=allowed)
    elif int(tokens.min()) < 0 or int(tokens.max()) >= vocabulary:
        yield DataError(f"calibration holds token ids from {int(tokens.min())} to {int(tokens.max())}", allowed=allowed)
