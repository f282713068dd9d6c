"""What criteria share that let the model write: prompts, greedy continuations, a score for each.

    value = mean over records of score(what the model writes after the record's prompt)

A prompt that leaves no room for the answer in the model's context keeps its last tokens.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from rayci.context import Context
from rayci.criteria.evaluation.asked_records import first_examples, stratified
from rayci.criteria.evaluation.chat_turns import as_chat
from rayci.criteria.evaluation.greedy_texts import greedy_texts
from rayci.criteria.evaluation.prompts import encoded
from rayci.criterion import Criterion, Reading, mean_reading
from rayci.data.records import Collection
from rayci.effort import Effort
from rayci.errors import DataError, RequestError, caught
from rayci.settings import ForwardBatch
from rayci.subject import Subject
from rayci.workload import Workload

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class WrittenText(Criterion):
    """A greedy continuation of a prompt for each record, scored."""

    item: ClassVar[str] = "question"
    part: ClassVar[str]
    """The part of the data that is asked."""
    stops: ClassVar[tuple[str, ...]] = ()
    """Texts before the first of which an answer ends."""
    hint: ClassVar[str | None] = None
    """Which data hold something for it, where not all data of the part do."""

    tokens: Annotated[int, Field(ge=1)]
    """Tokens that the model writes, at most."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Records at most, evenly spread over the data. Default: all."""
    chat: bool = False
    """Whether each prompt is a user's turn in the tokenizer's chat template."""
    forward_tokens: Annotated[ForwardBatch, Field(ge=1)] = 32_768
    """Tokens in one batch, padding and answers included; changes speed and memory only."""

    @abstractmethod
    def turn(self, record: Any) -> tuple[str, str]:
        """What is asked for a record, and what the answer begins with."""

    @abstractmethod
    def score(self, tokenizer: PreTrainedTokenizerBase, text: str, record: Any) -> float:
        """How good, or how telling, the text is that the model wrote for a record."""

    def examples(self, data: Collection) -> str:
        """What stands before all that is asked; DataError where examples lack."""
        return ""

    def select(self, records: Sequence[Any]) -> Sequence[Any]:
        """The records that the criterion is about."""
        return records

    def asked(self, data: Collection) -> tuple[Any, ...]:
        """Those records in the order of the data, limited; DataError where there are none."""
        records = self.select(data.part(self.part))
        if not records:
            raise DataError(
                f"{self.name}: {self.part} has nothing for it",
                at=data.sources.get(self.part, self.part),
                hint=self.hint,
            )
        return stratified(records, self.limit, lambda _: "")

    def check(self, data: Collection) -> Iterator[RequestError]:
        yield from caught(self.asked, data)
        yield from caught(self.examples, data)

    def prompts(self, tokenizer: PreTrainedTokenizerBase, data: Collection) -> list[str]:
        """What the model goes on with, for each record that is asked."""
        before = self.examples(data)
        turns = ((before + said, begun) for said, begun in map(self.turn, self.asked(data)))
        return [(as_chat(tokenizer, said) if self.chat else said) + begun for said, begun in turns]

    def measure(self, subject: Subject, context: Context) -> Reading:
        records, prompts = self.asked(context.data), self.prompts(subject.tokenizer, context.data)
        texts = greedy_texts(
            subject,
            prompts,
            most=self.tokens,
            most_tokens=self.forward_tokens,
            stops=self.stops,
            groups=[self.part] * len(prompts),
        )
        scores = [self.score(subject.tokenizer, text, record) for text, record in zip(texts, records, strict=True)]
        return replace(mean_reading(scores), note=self._cut(subject, prompts))

    def _cut(self, subject: Subject, prompts: Sequence[str]) -> str | None:
        """What is to be said of prompts that leave no room for an answer."""
        room = subject.context_length - self.tokens
        cut = sum(len(ids) > room for ids in encoded(subject.tokenizer, prompts))
        note = f"{cut} of {len(prompts)} prompts leave no room for {self.tokens} tokens and lost their first ones"
        return note if cut else None

    def asked_tokens(self, work: Workload) -> int:
        """Tokens of a prompt without its examples."""
        return work.texts.question

    def shown_tokens(self, work: Workload) -> int:
        """Tokens of the examples."""
        return 0

    def count(self, work: Workload) -> int:
        """Records that are asked, at most."""
        return min(work.count(self.part), self.limit or work.count(self.part))

    def operations(self, work: Workload) -> Effort:
        """Prompts, then a token at a time of all rows that fit into a batch."""
        rows, own, shown = self.count(work), self.asked_tokens(work), self.shown_tokens(work)
        asked = min(own, max(work.context - self.tokens, 1))
        batches = -(-rows * (shown + asked + self.tokens) // self.forward_tokens)
        written = batches * work.writing_operations(rows / batches, self.tokens)
        return work.forward_operations(rows * asked + shown, passes=batches + 1) + written

    def memory(self, work: Workload) -> int:
        """A batch of prompts without their examples, keys and values of all its tokens, and logits of the last ones.

        Keys and values lie there twice while those of the examples are copied, or of rows that still run.
        """
        own, shown = self.asked_tokens(work), self.shown_tokens(work)
        row = shown + own + self.tokens
        batch = max(min(self.forward_tokens, self.count(work) * row), row)
        rows = max(min(self.forward_tokens // self.tokens, self.count(work)), 1)  # however short their prompts are
        passed = work.forward_bytes(max(batch * own // row, shown))
        return passed + 2 * work.cache_bytes(batch + shown) + work.logit_bytes(rows)


class AfterExamples(WrittenText):
    """A question after few-shot examples, which all prompts begin with."""

    published_shots: ClassVar[int]
    """Examples in the published runs."""

    shots: Annotated[int, Field(ge=0)] | None = None
    """Examples before each question, the first that the data has. Default: as many as published, or as there are."""

    @abstractmethod
    def example(self, record: Any) -> str:
        """An example as it stands in a prompt, with its answer."""

    def examples(self, data: Collection) -> str:
        shots = min(self.published_shots, len(data.examples(self.part))) if self.shots is None else self.shots
        return "".join(map(self.example, first_examples(self.name, data, self.part, shots)))

    def shown_tokens(self, work: Workload) -> int:
        return (self.published_shots if self.shots is None else self.shots) * work.texts.question
