"""What the criteria of edit batches share: prompts of each edit, continued greedily, scored, and averaged by edit.

A continuation is compared with its target as token ids, special and bare-space tokens removed from
both first. Where several answers are as right, the best counts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from rayci.context import Context
from rayci.criteria.evaluation.chat_turns import as_chat
from rayci.criteria.evaluation.content_tokens import SPARE, content_tokens, is_content
from rayci.criterion import Criterion, Reading, mean_reading
from rayci.data.records import Collection, EditRecord, QuestionAnswer
from rayci.effort import Effort
from rayci.errors import DataError, RequestError
from rayci.kinds import UNIT_INTERVAL, Scale
from rayci.model.encoding import target_ids
from rayci.settings import ForwardBatch, OfEditBatch
from rayci.subject import Subject
from rayci.workload import Workload

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokens = list[int]


class EditCriterion(OfEditBatch, Criterion):
    """F1 over sets of token ids between what follows the prompts of an edit and what should."""

    version: ClassVar[int] = 4
    """4: a prompt beyond the context keeps its last tokens; near ties do not depend on the batch; aliases count."""
    scale: ClassVar[Scale] = UNIT_INTERVAL
    item: ClassVar[str] = "edit"
    needs: ClassVar[frozenset[str]] = frozenset({"edits"})
    per_edit_batch: ClassVar[bool] = True
    further: ClassVar[int] = 0
    """New tokens beyond those of the target, for the forecast."""

    chat: bool = False
    """Ask each prompt as a user's turn in the model's chat template; answers are then tokenized without a space
    before them."""
    forward_tokens: Annotated[ForwardBatch, Field(ge=1)] = 32_768
    """Tokens of prompts and continuations in one batch, padding included; changes speed and memory only."""

    @abstractmethod
    def questions(self, edit: EditRecord) -> Sequence[QuestionAnswer]:
        """The prompts of one edit and what should follow them."""

    def prompts(self, work: Workload) -> int:
        """Prompts of an edit batch."""
        return work.edits * work.texts.rephrases

    def operations(self, work: Workload) -> Effort:
        """Prompts, then a token at a time of all rows that fit into a batch: those of the target, and what goes on."""
        rows, row = self.prompts(work), work.texts.edit + SPARE + self.further
        batches = -(-rows * row // self.forward_tokens)
        written = batches * work.writing_operations(rows / batches, work.texts.target + self.further)
        return work.forward_operations(rows * work.texts.edit, passes=batches) + written

    def memory(self, work: Workload) -> int:
        """A batch of prompts with the keys and values of all blocks, and the logits of its last tokens."""
        row = work.texts.edit + SPARE + self.further
        rows = min(max(self.forward_tokens // row, 1), self.prompts(work))
        return work.forward_bytes(rows * row) + work.cache_bytes(rows * row) + work.logit_bytes(2 * rows)

    def measure(self, subject: Subject, context: Context) -> Reading:
        owners, items = self.items(context)
        outputs, targets = self.answers(subject, items)
        return mean_over_edits(owners, map(self.score, outputs, targets), outputs)

    def items(self, context: Context) -> tuple[list[int], list[QuestionAnswer]]:
        """Which edit of the batch each question is of, and the questions."""
        pairs = [(index, item) for index, edit in enumerate(context.of(self).edits) for item in self.questions(edit)]
        if not pairs:
            raise self._without_prompts(context.data)
        return [index for index, _ in pairs], [item for _, item in pairs]

    def check(self, data: Collection) -> Iterator[RequestError]:
        if data.edits and not any(map(self.questions, data.edits)):
            yield self._without_prompts(data)

    def _without_prompts(self, data: Collection) -> DataError:
        return DataError(
            f"{self.name}: the edits have no prompts for it",
            at=data.sources.get("edits", "edits"),
            hint=f"edit records with `rephrases` and `locality`, or leave {self.name} out",
        )

    def answers(self, subject: Subject, items: Sequence[QuestionAnswer]) -> tuple[list[Tokens], list[list[Tokens]]]:
        """Content tokens of each continuation and of all its right answers."""
        tokenizer = subject.tokenizer
        targets = [self._targets(tokenizer, item) for item in items]
        prompts = [as_chat(tokenizer, item.prompt) if self.chat else item.prompt for item in items]
        return self.outputs(subject, prompts, [max(map(len, own)) for own in targets]), targets

    def outputs(self, subject: Subject, prompts: Sequence[str], lengths: Sequence[int]) -> list[Tokens]:
        """Content tokens of each continuation, given those of its longest right answer."""
        return content_tokens(subject, prompts, lengths, self.forward_tokens)

    def score(self, output: Tokens, targets: Sequence[Tokens]) -> float:
        """The score of a continuation, cut to the length of the answer that it is compared with."""
        return max(set_f1(output[: len(target)], target) for target in targets)

    def _targets(self, tokenizer: PreTrainedTokenizerBase, item: QuestionAnswer) -> list[Tokens]:
        counts = is_content(tokenizer)
        rows = (self._answer_ids(tokenizer, answer) for answer in (item.answer, *item.aliases))
        return [[token for token in row if counts(token)] for row in rows]

    def _answer_ids(self, tokenizer: PreTrainedTokenizerBase, answer: str) -> Tokens:
        if not self.chat:
            return target_ids(tokenizer, answer)
        return list(tokenizer(answer.removeprefix(" "), add_special_tokens=False)["input_ids"])


def set_f1(predicted: Iterable[int], target: Iterable[int]) -> float:
    """F1 = 2·|P ∩ T| / (|P| + |T|) over the sets of token ids; 0 where they share none."""
    left, right = set(predicted), set(target)
    shared = len(left & right)
    return 2 * shared / (len(left) + len(right)) if shared else 0.0


def mean_over_edits(owners: Sequence[int], scores: Iterable[float], outputs: list[Tokens]) -> Reading:
    """Mean over edits of each edit's mean score; `owners` says which edit an item is of."""
    per_edit: dict[int, list[float]] = {}
    for owner, score in zip(owners, scores, strict=True):
        per_edit.setdefault(owner, []).append(score)
    return mean_reading([sum(values) / len(values) for values in per_edit.values()], outputs)
