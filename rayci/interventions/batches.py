"""Which items of a part of the data are trained on, in which order, and how they become batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from rayci.context import Context
from rayci.data.records import Document, QuestionAnswer
from rayci.errors import DataError, RequestError, caught
from rayci.model.encoding import Batch, chunks, encode_targets, encode_texts, prompt_ids, target_ids
from rayci.subject import Subject

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LossOn = Literal["text", "answer"]
"""Which tokens bear loss: all of a part's documents, or those of the answers to the questions that go with it."""
T = TypeVar("T", Document, QuestionAnswer)
Order = tuple[tuple[int, ...], ...]
"""The batches of one pass, as places in the list of items."""


@dataclass(frozen=True)
class Drawn:
    """Items of one part of the data and the batches of every epoch."""

    items: Sequence[Any]
    epochs: tuple[Order, ...]
    encode: Callable[[Sequence[Any]], Batch]

    def batch(self, places: Sequence[int]) -> Batch:
        """The items at these places as one padded batch."""
        return self.encode([self.items[place] for place in places])


def balanced(documents: Sequence[T], count: int, draw: Random) -> list[T]:
    """`count` documents drawn without replacement, topics taking turns, in drawn order."""
    topics: dict[str, list[T]] = {}
    for document in documents:
        topics.setdefault(getattr(document, "topic", ""), []).append(document)
    queues = [topics[name] for name in sorted(topics)]
    for queue in queues:
        draw.shuffle(queue)
    chosen = [queue[turn] for turn in range(max(map(len, queues), default=0)) for queue in queues if turn < len(queue)]
    if len(chosen) < count:
        raise DataError(f"{count} items were asked for, there are {len(chosen)}", hint=f"samples = {len(chosen)}")
    chosen = chosen[:count]
    draw.shuffle(chosen)
    return chosen


def part_of(context: Context, part: str) -> Sequence[Any]:
    """All items of a part of the data; DataError where there are none."""
    items: Sequence[Any] = getattr(context.data, part)
    if not items:
        raise DataError(f"there are no {part} items", at=context.data.sources.get(part, part))
    return items


def item_faults(context: Context, part: str, count: int | None) -> Iterator[RequestError]:
    """Items of a part that have no text, and whether there are `count` items; nothing where there are none."""
    for place, item in enumerate(getattr(context.data, part), start=1):
        text = item.text if isinstance(item, Document) else item.answer
        if not text.strip():
            yield DataError(f"{part} item {place} has no text to train on", at=context.data.sources.get(part, part))
    if context.has(part):
        yield from caught(choose, context, part, count)


def length_faults(subject: Subject, context: Context, part: str, replies: Sequence[str] = ()) -> Iterator[RequestError]:
    """Questions that with their answers are longer than the model's positions: unlike texts they are not cut.

    Where there are `replies`, each question may get any of these for an answer.
    """
    limit = subject.context_length

    def too_long(prompt: str, answer: str) -> bool:
        # A token is a byte or more: most questions need not be tokenised.
        if len(f"{prompt} {answer}".encode()) < limit or not subject.has_tokenizer:
            return False
        return len(prompt_ids(subject.tokenizer, prompt)) + len(target_ids(subject.tokenizer, answer)) > limit

    overlong = [
        place
        for place, item in enumerate(getattr(context.data, part), start=1)
        if any(too_long(item.prompt, answer) for answer in replies or (item.answer,))
    ]
    if overlong:
        yield DataError(
            f"{len(overlong)} of the {part} are longer than the model's {limit} tokens, item {overlong[0]} the first",
            at=context.data.sources.get(part, part),
            hint="leave them out: a question is not cut",
        )


def choose(context: Context, part: str, count: int | None) -> tuple[list[Any], Random]:
    """`count` items of a part (all of them for None) and the stream that drew them.

    The stream depends on the seed and the part alone: whoever asks for as many items of the
    same part, a criterion say, sees the same ones.
    """
    # The stream keeps the name that the first methods gave it: another one would draw other items.
    items, draw = part_of(context, part), context.random(f"unlearning {part}")
    try:
        return balanced(items, len(items) if count is None else count, draw), draw
    except DataError as error:
        raise error.located(context.data.sources.get(part, part)) from None


def epochs_of(count: int, batch: int, epochs: int, draw: Random) -> tuple[Order, ...]:
    """Batches of every epoch: the first in drawn order, the others shuffled."""
    order, passes = list(range(count)), []
    for _ in range(epochs):
        passes.append(tuple(tuple(group) for group in chunks(order, batch)))
        draw.shuffle(order)
    return tuple(passes)


def cycled(items: Sequence[T], count: int) -> list[T]:
    """`count` items, starting over where there are fewer."""
    return [items[place % len(items)] for place in range(count)]


def items_of(part: str, loss_on: LossOn) -> str:
    """The part of the data that holds what is trained on: of documents, or of the questions that go with them."""
    return part if loss_on == "text" else f"{part}_questions"


def encoder_of(subject: Subject, loss_on: LossOn, max_tokens: int) -> Callable[[Sequence[Any]], Batch]:
    """How these items become a batch: documents cut to `max_tokens`, questions whole."""
    return text_encoder(subject, max_tokens) if loss_on == "text" else answer_encoder(subject.tokenizer)


def text_encoder(subject: Subject, max_tokens: int) -> Callable[[Sequence[Document]], Batch]:
    """Whole documents, every token a target; cut to `max_tokens` and the model's context."""
    limit = min(max_tokens, subject.context_length)
    return lambda group: encode_texts(subject.tokenizer, [document.text for document in group], limit)


def answer_encoder(tokenizer: PreTrainedTokenizerBase) -> Callable[[Sequence[QuestionAnswer]], Batch]:
    """Questions with their answers, the answer's tokens alone being targets."""
    return lambda group: encode_targets(tokenizer, [(item.prompt, item.answer) for item in group])
