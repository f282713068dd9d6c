"""Flips: questions that are answered rightly before and wrongly now, or the other way round.

    value = share of the questions whose correctness is not that of the untouched model

Equal accuracy hides flips (arXiv 2407.09141). Each criterion asks its questions as it does for its own value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from rayci.context import Context
from rayci.criteria.choices import Hazard, MultipleChoice, Scoring, Utility
from rayci.criteria.knowledge import Mmlu, Wmdp, WmdpBio, WmdpCyber
from rayci.criteria.truthful import TruthfulChoice
from rayci.criterion import Criterion, Reading, mean_reading
from rayci.data.records import Collection
from rayci.effort import Effort
from rayci.errors import MeasurementError, RequestError
from rayci.kinds import Direction, Scale
from rayci.settings import ForwardBatch, Needs
from rayci.subject import Subject
from rayci.workload import Workload

Asked = Literal["mmlu", "wmdp", "wmdp_bio", "wmdp_cyber", "hazard", "utility", "truthfulqa_mc1"]
_CRITERIA: Mapping[str, type[MultipleChoice]] = {
    criterion.name: criterion for criterion in (Mmlu, Wmdp, WmdpBio, WmdpCyber, Hazard, Utility, TruthfulChoice)
}


class Flips(Criterion):
    """Share of questions whose answer turned from right to wrong or back since the untouched model; lower is better."""

    name: ClassVar[str] = "flips"
    item: ClassVar[str] = "question"
    scale: ClassVar[Scale] = Scale(Direction.LOWER, 0.0, 1.0, None, "share")
    parts: ClassVar[frozenset[str]] = frozenset({"hazard", "utility"})
    """Parts of the data that are read by default."""
    needs: ClassVar[frozenset[str]] = Needs()  # type: ignore[assignment]
    compares: ClassVar[bool] = True

    of: Asked | Annotated[tuple[Asked, ...], Field(min_length=1)] = ("mmlu", "wmdp")
    """Criteria whose questions are asked, one or several."""
    scoring: Scoring | None = None
    """As in these criteria. Default: what each of them does by itself."""
    shots: Annotated[int, Field(ge=0)] = 0
    """Examples before each question, where the criterion has a choice."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Questions of each criterion at most. Default: all."""
    chat: bool = False
    """Whether each prompt is a user's turn in the tokenizer's chat template."""
    forward_tokens: Annotated[ForwardBatch, Field(ge=1)] = 32_768
    """Tokens in one forward pass, padding included; changes speed and memory only."""

    def wraps(self) -> tuple[MultipleChoice, ...]:
        names = (self.of,) if isinstance(self.of, str) else self.of
        return tuple(self._configured(_CRITERIA[name]) for name in names)

    def _configured(self, criterion: type[MultipleChoice]) -> MultipleChoice:
        given: dict[str, Any] = self.model_dump(exclude={"of"}, exclude_none=True)
        return criterion.model_validate({key: value for key, value in given.items() if key in criterion.model_fields})

    def reads(self) -> frozenset[str]:
        """Parts of the data that these settings read."""
        return frozenset(criterion.part for criterion in self.wraps())

    def check(self, data: Collection) -> Iterator[RequestError]:
        for criterion in self.wraps():
            yield from criterion.check(data)

    def measure(self, subject: Subject, context: Context) -> Reading:
        right: list[bool] = []
        notes: list[str] = []
        for criterion in self.wraps():
            own, note = criterion.answers(subject, criterion.asked(context.data), context.data)
            right += own
            notes += [f"{criterion.name}: {note}"] if note else []
        before = right if context.reference is None else context.reference
        if len(before) != len(right):
            raise MeasurementError("the untouched model was asked other questions")
        turned = [float(now != then) for now, then in zip(right, before, strict=True)]
        return mean_reading(turned, right, "; ".join(notes) or None)

    def operations(self, work: Workload) -> Effort:
        return sum((criterion.operations(work) for criterion in self.wraps()), Effort())

    def memory(self, work: Workload) -> int:
        return max(criterion.memory(work) for criterion in self.wraps())
