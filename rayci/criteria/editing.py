"""Edit success, generalization, locality and portability: F1 over sets of token ids of greedy continuations.

    F1 = 2·|P ∩ T| / (|P| + |T|), 0 where the intersection is empty

Special and bare-space tokens are removed from both first. P: tokens generated greedily, as many as
are left of the target; T: the target's. Success on the edit prompt, generalization over all
rephrases, locality against the gold answers of unrelated prompts (arXiv 2407.06483, section 3),
portability on questions whose answers follow from the edit (arXiv 2305.13172; MQuAKE, arXiv 2305.14795).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from rayci.context import Context
from rayci.criteria.editing_criterion import EditCriterion, mean_over_edits, set_f1
from rayci.criterion import Reading
from rayci.data.records import Collection, EditRecord, QuestionAnswer
from rayci.errors import Inapplicable, MeasurementError, RequestError
from rayci.subject import Subject
from rayci.workload import Workload


class EditSuccess(EditCriterion):
    """Whether the edit prompt now continues with the new target."""

    name: ClassVar[str] = "edit_success"

    def prompts(self, work: Workload) -> int:
        return work.edits

    def questions(self, edit: EditRecord) -> Sequence[QuestionAnswer]:
        return [QuestionAnswer(edit.prompt, edit.target_new)]


class EditGeneralization(EditCriterion):
    """Whether held-out rephrases of the prompt continue with the new target; mean over all of them."""

    name: ClassVar[str] = "edit_generalization"

    def questions(self, edit: EditRecord) -> Sequence[QuestionAnswer]:
        return [QuestionAnswer(prompt, edit.target_new) for prompt in edit.rephrases]


class EditPortability(EditCriterion):
    """Whether questions that follow from the edit, over a hop more or by reasoning, are answered by it.

    Edits without such questions do not count; where no edit of the batch has one, it does not apply.
    """

    name: ClassVar[str] = "edit_portability"

    def questions(self, edit: EditRecord) -> Sequence[QuestionAnswer]:
        return edit.portability

    def items(self, context: Context) -> tuple[list[int], list[QuestionAnswer]]:
        if not any(edit.portability for edit in context.of(self).edits):
            raise Inapplicable("no edit of the batch has questions about what follows from it (`portability`)")
        return super().items(context)

    def check(self, data: Collection) -> Iterator[RequestError]:
        return iter(())  # it is skipped, so that one list of criteria does for several data sets


class EditLocality(EditCriterion):
    """Whether unrelated prompts still continue with their gold answers."""

    name: ClassVar[str] = "edit_locality"

    def prompts(self, work: Workload) -> int:
        return work.edits * work.texts.locality

    def questions(self, edit: EditRecord) -> Sequence[QuestionAnswer]:
        return edit.locality


class EditLocalityAgreement(EditLocality):
    """Whether unrelated prompts continue as they did on the untouched model."""

    name: ClassVar[str] = "edit_locality_agreement"
    compares: ClassVar[bool] = True

    def measure(self, subject: Subject, context: Context) -> Reading:
        owners, items = self.items(context)
        outputs, _ = self.answers(subject, items)
        before = outputs if context.reference is None else context.reference
        if len(before) != len(outputs):
            raise MeasurementError("the untouched model was measured on other prompts")
        # two empty continuations agree although they share no token
        scores = [1.0 if now == list(then) else set_f1(now, then) for now, then in zip(outputs, before, strict=True)]
        return mean_over_edits(owners, scores, outputs)
