"""What criteria of running text share: documents are joined, cut into windows, and every token that follows scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from rayci.context import Context
from rayci.criteria.evaluation.row_batches import MOST_SCORED
from rayci.criteria.evaluation.text_likelihoods import token_log_probs
from rayci.criteria.evaluation.windows import PIECE, windows
from rayci.criterion import Criterion
from rayci.effort import Effort
from rayci.errors import DataError, MeasurementError
from rayci.model.token_cache import joined_ids
from rayci.settings import ForwardBatch
from rayci.subject import Subject
from rayci.workload import Workload

if TYPE_CHECKING:
    from rayci.criteria.evaluation.question_tokens import Ids
    from rayci.criteria.evaluation.text_likelihoods import Scores


class RunningText(Criterion):
    """A criterion of every token of a part's text, given those before it in its window."""

    part: ClassVar[str] = "evaluation"
    needs: ClassVar[frozenset[str]] = frozenset({"evaluation"})
    item: ClassVar[str | None] = f"piece of {PIECE} tokens"

    window: Annotated[int, Field(ge=2)] = 8192
    """Longest window in tokens; the model's context, where that is shorter."""
    separator: str = "\n\n"
    """What joins the documents."""
    forward_tokens: Annotated[ForwardBatch, Field(ge=1)] = 32_768
    """Tokens in one forward pass, padding included; changes speed and memory only."""

    def operations(self, work: Workload) -> Effort:
        return work.forward_operations(work.tokens(self.part))

    def memory(self, work: Workload) -> int:
        """A batch of windows, and the logits of a chunk of it."""
        tokens = min(max(self.forward_tokens, min(self.window, work.context)), work.tokens(self.part))
        return work.forward_bytes(tokens) + work.logit_bytes(min(MOST_SCORED, tokens))

    def windows(self, subject: Subject, context: Context) -> tuple[Ids, ...]:
        """Token ids of the windows; DataError where the text has fewer than two tokens."""
        ids = joined_ids(subject.tokenizer, context.data.part(self.part), self.separator)
        cut = windows(ids, min(self.window, subject.context_length))
        if not cut:
            source = context.data.sources.get(self.part, self.part)
            raise DataError(f"{self.name}: the {self.part} text has fewer than two tokens", at=source)
        return cut

    def losses(self, subject: Subject, context: Context) -> list[Scores]:
        """−log p of every token in nats, window by window; MeasurementError where one is NaN."""
        scores = token_log_probs(subject, self.windows(subject, context), self.forward_tokens)
        if any(np.isnan(own).any() for own in scores):
            raise MeasurementError(f"{self.name}: the model's probabilities are NaN")
        return [-own for own in scores]
