"""Edit success, generalization and locality: F1 over sets of token ids of greedy continuations.

    F1 = 2·|P ∩ T| / (|P| + |T|), 0 where the intersection is empty

Special and bare-space tokens are removed from both first. P: tokens generated greedily, as many as
are left of the target; T: the target's. Success on the edit prompt, generalization over all
rephrases, locality against the gold answers of unrelated prompts (arXiv 2407.06483, section 3).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from rayci.context import Context
from rayci.criteria.generation import GENERATION_BATCH, Counts, greedy
from rayci.criterion import Criterion, Reading, mean_reading
from rayci.data.records import EditRecord, QuestionAnswer
from rayci.errors import DataError, MeasurementError
from rayci.kinds import UNIT_INTERVAL, Scale
from rayci.model.encoding import target_ids
from rayci.subject import Subject
from rayci.workload import Workload

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def set_f1(predicted: Iterable[int], target: Iterable[int]) -> float:
    """F1 over the sets of token ids; 0 where they share none."""
    left, right = set(predicted), set(target)
    shared = len(left & right)
    return 2 * shared / (len(left) + len(right)) if shared else 0.0


def is_content(tokenizer: PreTrainedTokenizerBase) -> Counts:
    """Tells special tokens and bare spaces from all others."""
    special = set(tokenizer.all_special_ids)

    @cache
    def counts(token: int) -> bool:
        return token not in special and bool(str(tokenizer.decode([token])).strip(" "))

    return counts


class _EditCriterion(Criterion):
    version: ClassVar[int] = 3
    scale: ClassVar[Scale] = UNIT_INTERVAL
    item: ClassVar[str] = "edit"
    needs: ClassVar[frozenset[str]] = frozenset({"edits"})
    per_edit_batch: ClassVar[bool] = True

    @abstractmethod
    def questions(self, edit: EditRecord) -> Sequence[QuestionAnswer]:
        """The prompts of one edit and what should follow them."""

    def prompts(self, work: Workload) -> int:
        """Prompts of an edit batch."""
        return work.edits * work.texts.rephrases

    def operations(self, work: Workload) -> float:
        return work.forward_operations(self.prompts(work) * work.texts.edit)

    def memory(self, work: Workload) -> int:
        """A batch of prompts with the keys and values of all blocks, and the logits of its last tokens."""
        rows = min(GENERATION_BATCH, self.prompts(work))
        tokens = rows * work.texts.edit
        return work.forward_bytes(tokens) + work.cache_bytes(tokens) + work.logit_bytes(2 * rows)

    def measure(self, subject: Subject, context: Context) -> Reading:
        owners, items = self._items(context)
        outputs, targets = answers(subject, items)
        return _mean_over_edits(owners, map(set_f1, outputs, targets), outputs)

    def _items(self, context: Context) -> tuple[list[int], list[QuestionAnswer]]:
        pairs = [(index, item) for index, edit in enumerate(context.edits) for item in self.questions(edit)]
        if not pairs:
            raise DataError(
                f"{self.name}: the edit batch has no prompts for it",
                at=context.data.sources.get("edits", "edits"),
                hint="edit records with `rephrases` and `locality`",
            )
        return [index for index, _ in pairs], [item for _, item in pairs]


def answers(subject: Subject, items: Sequence[QuestionAnswer]) -> tuple[list[list[int]], list[list[int]]]:
    """Content tokens of each greedy continuation, at most as many as its gold answer has, and the answer's."""
    counts = is_content(subject.tokenizer)
    targets = [[token for token in target_ids(subject.tokenizer, item.answer) if counts(token)] for item in items]
    return greedy(subject, [item.prompt for item in items], list(map(len, targets)), counts), targets


def _mean_over_edits(owners: Sequence[int], scores: Iterable[float], outputs: list[list[int]]) -> Reading:
    """Mean over edits of each edit's mean score; `owners` says which edit an item is of."""
    per_edit: dict[int, list[float]] = {}
    for owner, score in zip(owners, scores, strict=True):
        per_edit.setdefault(owner, []).append(score)
    return mean_reading([sum(values) / len(values) for values in per_edit.values()], outputs)


class EditSuccess(_EditCriterion):
    """Whether the edit prompt now continues with the new target."""

    name: ClassVar[str] = "edit_success"

    def prompts(self, work: Workload) -> int:
        return work.edits

    def questions(self, edit: EditRecord) -> Sequence[QuestionAnswer]:
        return [QuestionAnswer(edit.prompt, edit.target_new)]


class EditGeneralization(_EditCriterion):
    """Whether held-out rephrases of the prompt continue with the new target; mean over all of them."""

    name: ClassVar[str] = "edit_generalization"

    def questions(self, edit: EditRecord) -> Sequence[QuestionAnswer]:
        return [QuestionAnswer(prompt, edit.target_new) for prompt in edit.rephrases]


class EditLocality(_EditCriterion):
    """Whether unrelated prompts still continue with their gold answers."""

    name: ClassVar[str] = "edit_locality"

    def questions(self, edit: EditRecord) -> Sequence[QuestionAnswer]:
        return edit.locality


class EditLocalityAgreement(EditLocality):
    """Whether unrelated prompts continue as they did on the untouched model."""

    name: ClassVar[str] = "edit_locality_agreement"
    compares: ClassVar[bool] = True

    def measure(self, subject: Subject, context: Context) -> Reading:
        owners, items = self._items(context)
        outputs, _ = answers(subject, items)
        before = outputs if context.reference is None else context.reference
        if len(before) != len(outputs):
            raise MeasurementError("the untouched model was measured on other prompts")
        # two empty continuations agree although they share no token
        scores = [1.0 if now == list(then) else set_f1(now, then) for now, then in zip(outputs, before, strict=True)]
        return _mean_over_edits(owners, scores, outputs)
