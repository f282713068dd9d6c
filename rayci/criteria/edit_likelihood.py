"""How likely the edits' targets are when they are read, not generated.

    edit_nll             mean over edits of −1/n · Σ log p(t_k | prompt, t_<k), the n tokens of an edit's target
    edit_teacher_forced  mean over edits of the share of k for which t_k is the argmax of p(· | prompt, t_<k)
    nll_ratio            edit_nll / general_nll: edits decay first where compression makes it grow

Prompt and target are tokenized apart, the target with a leading space, as editors train on them and as
`edit_success` compares them. What is longer than the model's context keeps its last tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from rayci.context import Context
from rayci.criteria.evaluation.row_batches import MOST_SCORED
from rayci.criteria.evaluation.text_likelihoods import most_likely, token_log_probs
from rayci.criteria.running_text import RunningText
from rayci.criterion import Criterion, Reading, mean_reading
from rayci.effort import Effort
from rayci.errors import DataError, MeasurementError
from rayci.kinds import UNIT_INTERVAL, Direction, Scale
from rayci.model.encoding import prompt_ids, target_ids
from rayci.settings import ForwardBatch, OfEditBatch
from rayci.subject import Subject
from rayci.workload import Workload

if TYPE_CHECKING:
    from rayci.criteria.evaluation.question_tokens import Ids
    from rayci.criteria.evaluation.text_likelihoods import Scores

Reader = Callable[[Subject, Sequence["Ids"], int], list["Scores"]]
"""What is asked of every token: `token_log_probs` or `most_likely`."""


def target_means(reader: Reader, subject: Subject, context: Context, most_tokens: int) -> list[float]:
    """The mean over an edit's target tokens of what the reader says of them, for every edit of the batch.

    Raises DataError for a target without a token, MeasurementError where the model's probabilities are NaN.
    """
    rows, lengths = [], []
    for edit in context.edits:
        target = target_ids(subject.tokenizer, edit.target_new)
        whole = np.array([*prompt_ids(subject.tokenizer, edit.prompt), *target], np.int32)[-subject.context_length :]
        if not 0 < len(target) < len(whole):
            source = context.data.sources.get("edits", "edits")
            raise DataError(f"edit {edit.prompt!r}: {len(target)} target tokens after {len(whole)} in all", at=source)
        rows.append(whole)
        lengths.append(len(target))
    scores = reader(subject, rows, most_tokens)
    means = [float(own[-length:].mean()) for own, length in zip(scores, lengths, strict=True)]
    if np.isnan(means).any():
        raise MeasurementError("the model's probabilities are NaN")
    return means


class _OfTargets(OfEditBatch, Criterion):
    item: ClassVar[str] = "edit"
    needs: ClassVar[frozenset[str]] = frozenset({"edits"})
    per_edit_batch: ClassVar[bool] = True

    forward_tokens: Annotated[ForwardBatch, Field(ge=1)] = 32_768
    """Tokens in one forward pass, padding included; changes speed and memory only."""

    def operations(self, work: Workload) -> Effort:
        return work.forward_operations(work.tokens("edits"))

    def memory(self, work: Workload) -> int:
        """A batch of edits, and the logits of a chunk of it."""
        tokens = max(min(self.forward_tokens, work.tokens("edits")), work.texts.edit)
        return work.forward_bytes(tokens) + work.logit_bytes(min(MOST_SCORED, tokens))


class EditLoss(_OfTargets):
    """Mean negative log-likelihood of a token of the new targets after their prompts."""

    name: ClassVar[str] = "edit_nll"
    scale: ClassVar[Scale] = Scale(Direction.LOWER, 0.0, None, None, "nats per token")

    def measure(self, subject: Subject, context: Context) -> Reading:
        return mean_reading(
            [-mean for mean in target_means(token_log_probs, subject, context.of(self), self.forward_tokens)]
        )


class EditTeacherForced(_OfTargets):
    """Share of the new targets' tokens that the model chooses, given the prompt and the target's tokens before."""

    name: ClassVar[str] = "edit_teacher_forced"
    scale: ClassVar[Scale] = UNIT_INTERVAL

    def measure(self, subject: Subject, context: Context) -> Reading:
        return mean_reading(target_means(most_likely, subject, context.of(self), self.forward_tokens))


class LossRatio(OfEditBatch, RunningText):
    """`edit_nll` in units of `general_nll`: 1 where edits are as likely as any text, more where they decay first.

    An item is an edit, its loss divided by the general one; the standard error is over edits alone.
    """

    name: ClassVar[str] = "nll_ratio"
    item: ClassVar[str | None] = "edit"
    scale: ClassVar[Scale] = Scale(Direction.LOWER, 0.0, None, None, "edit per general loss")
    needs: ClassVar[frozenset[str]] = frozenset({"edits", "evaluation"})
    per_edit_batch: ClassVar[bool] = True

    def operations(self, work: Workload) -> Effort:
        return work.forward_operations(work.tokens("edits") + work.tokens("evaluation"))

    def measure(self, subject: Subject, context: Context) -> Reading:
        general = float(np.concatenate(self.losses(subject, context)).mean())
        if not 0 < general < np.inf:
            raise MeasurementError(f"nll_ratio: the loss on general text is {general:g}")
        edits = target_means(token_log_probs, subject, context.of(self), self.forward_tokens)
        return mean_reading([-mean / general for mean in edits])
