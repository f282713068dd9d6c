"""Edit success, generalization and locality: F1 over sets of token ids of greedy continuations.

    F1 = 2·|P ∩ T| / (|P| + |T|), 0 where the intersection is empty

P: tokens generated greedily, special and bare-space tokens removed, as many as the target has;
T: the target's. Success on the edit prompt, generalization over all rephrases, locality against
the gold answers of unrelated prompts (arXiv 2407.06483, section 3).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from rayci.context import Context
from rayci.criteria.generation import greedy
from rayci.criterion import Criterion, Reading, mean_reading
from rayci.data.records import EditRecord, QuestionAnswer
from rayci.errors import DataError, MeasurementError
from rayci.kinds import UNIT_INTERVAL, Scale
from rayci.model.encoding import target_ids
from rayci.subject import Subject


def set_f1(predicted: Iterable[int], target: Iterable[int]) -> float:
    """F1 over the sets of token ids; 0 where they share none."""
    left, right = set(predicted), set(target)
    shared = len(left & right)
    return 2 * shared / (len(left) + len(right)) if shared else 0.0


def content(subject: Subject, tokens: Iterable[int]) -> list[int]:
    """Tokens without special ones and without bare spaces."""
    special = set(subject.tokenizer.all_special_ids)
    return [token for token in tokens if token not in special and str(subject.tokenizer.decode([token])).strip(" ")]


class _EditCriterion(Criterion):
    scale: ClassVar[Scale] = UNIT_INTERVAL
    needs: ClassVar[frozenset[str]] = frozenset({"edits"})
    per_edit_batch: ClassVar[bool] = True

    @abstractmethod
    def questions(self, edit: EditRecord) -> Sequence[QuestionAnswer]:
        """The prompts of one edit and what should follow them."""

    def measure(self, subject: Subject, context: Context) -> Reading:
        owners, items = self._items(context)
        targets = [target_ids(subject.tokenizer, item.answer) for item in items]
        outputs = greedy(subject, [item.prompt for item in items], list(map(len, targets)))
        per_edit: dict[int, list[float]] = {}
        for owner, output, target in zip(owners, outputs, targets, strict=True):
            score = set_f1(content(subject, output), content(subject, target))
            per_edit.setdefault(owner, []).append(score)
        return mean_reading([sum(values) / len(values) for values in per_edit.values()], outputs)

    def _items(self, context: Context) -> tuple[list[int], list[QuestionAnswer]]:
        pairs = [(index, item) for index, edit in enumerate(context.edits) for item in self.questions(edit)]
        if not pairs:
            raise DataError(
                f"{self.name}: the edit batch has no prompts for it",
                at=context.data.sources.get("edits", "edits"),
                hint="edit records with `rephrases` and `locality`",
            )
        return [index for index, _ in pairs], [item for _, item in pairs]


class EditSuccess(_EditCriterion):
    """Whether the edit prompt now continues with the new target."""

    name: ClassVar[str] = "edit_success"

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
        lengths = [len(target_ids(subject.tokenizer, item.answer)) for item in items]
        outputs = greedy(subject, [item.prompt for item in items], lengths)
        before = outputs if context.reference is None else context.reference
        if len(before) != len(outputs):
            raise MeasurementError("the untouched model was measured on other prompts")
        per_edit: dict[int, list[float]] = {}
        for owner, now, then in zip(owners, outputs, before, strict=True):
            same = now == list(then)  # two empty continuations agree although they share no token
            per_edit.setdefault(owner, []).append(
                1.0 if same else set_f1(content(subject, now), content(subject, then))
            )
        return mean_reading([sum(values) / len(values) for values in per_edit.values()], outputs)
