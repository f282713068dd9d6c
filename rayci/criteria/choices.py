"""Multiple choice: which option a model finds likeliest; on the spec's own questions, `hazard` and `utility`.

    choice = argmax over options of log p(option | header, examples, question)
    value  = share of the questions whose choice is the right option

Prompt and option are tokenized together, and a prompt beyond the context keeps its last tokens (lm-eval).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from rayci.context import Context
from rayci.criteria.evaluation.asked_records import first_examples, stratified
from rayci.criteria.evaluation.chat_turns import as_turns
from rayci.criteria.evaluation.multiple_choice import chosen, cut_prompts, log_likelihoods, per_character
from rayci.criteria.evaluation.question_prompts import by_letter, by_text, example
from rayci.criteria.evaluation.question_tokens import Question
from rayci.criteria.evaluation.row_batches import MOST_SCORED
from rayci.criterion import Criterion, Reading, mean_reading
from rayci.data.records import Choice, Collection
from rayci.effort import Effort
from rayci.errors import DataError, MeasurementError, RequestError, caught
from rayci.kinds import Direction, Scale
from rayci.settings import ForwardBatch
from rayci.subject import Subject
from rayci.workload import Workload

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Scoring = Literal["text", "text_per_character", "letters"]

_OPTIONS = 4
"""Options of a question, where nobody has read it."""


class MultipleChoice(Criterion):
    """What all criteria share that count right choices: which questions are asked, scores, costs."""

    item: ClassVar[str] = "question"
    part: ClassVar[str]
    """The part of the data that holds the questions."""

    limit: Annotated[int, Field(ge=1)] | None = None
    """Questions at most, of every subject its share. Default: all."""
    chat: bool = False
    """Whether each prompt is a user's turn in the tokenizer's chat template."""
    forward_tokens: Annotated[ForwardBatch, Field(ge=1)] = 32_768
    """Tokens in one forward pass, padding included; changes speed and memory only."""

    @abstractmethod
    def prompts(self, choices: Sequence[Choice], data: Collection) -> Iterator[Question]:
        """What is asked, examples included; DataError where examples lack."""

    def select(self, choices: Sequence[Choice]) -> Sequence[Choice]:
        """The questions that the criterion is about; DataError where there are none."""
        return choices

    def asked(self, data: Collection) -> tuple[Choice, ...]:
        """The questions in the order of the data, limited; DataError where there are none."""
        choices: tuple[Choice, ...] = getattr(data, self.part)
        if not choices:
            raise DataError(f"{self.name}: there are no questions", at=data.sources.get(self.part, self.part))
        return stratified(self.select(choices), self.limit, lambda choice: choice.subject or choice.topic)

    def check(self, data: Collection) -> Iterator[RequestError]:
        yield from caught(lambda: list(self.prompts(self.asked(data), data)))

    def questions(
        self, tokenizer: PreTrainedTokenizerBase, choices: Sequence[Choice], data: Collection
    ) -> tuple[Question, ...]:
        """The prompts as the model gets them."""
        asked = tuple(self.prompts(choices, data))
        return as_turns(tokenizer, asked) if self.chat else asked

    def scale_on(self, data: Collection) -> Scale:
        """Who guesses is right on 1/options of the questions."""
        choices = self.select(getattr(data, self.part))
        guessed = math.fsum(1 / len(choice.options) for choice in choices)
        return replace(self.scale, chance=guessed / len(choices)) if choices else self.scale

    def is_right(self, choice: Choice, scores: Sequence[float]) -> bool:
        """Whether the likeliest option, the first of equals, is the right one."""
        return chosen(scores) == choice.answer

    def mean(self, choices: Sequence[Choice], right: Sequence[bool]) -> Reading:
        """The value of right and wrong answers."""
        return mean_reading(list(map(float, right)))

    def measure(self, subject: Subject, context: Context) -> Reading:
        choices = self.asked(context.data)
        right, note = self.answers(subject, choices, context.data)
        return replace(self.mean(choices, right), note=note)

    def answers(self, subject: Subject, choices: Sequence[Choice], data: Collection) -> tuple[list[bool], str | None]:
        """Which questions are answered rightly, and what is to be said of prompts that were cut."""
        questions = self.questions(subject.tokenizer, choices, data)
        scores = log_likelihoods(subject, questions, self.forward_tokens)
        if any(math.isnan(score) for own in scores for score in own):
            raise MeasurementError(f"{self.name}: the model's probabilities are NaN")
        cut = cut_prompts(subject, questions)
        note = f"{cut} of {len(questions)} prompts exceed the model's context and lost their first tokens"
        right = [self.is_right(choice, own) for choice, own in zip(choices, scores, strict=True)]
        return right, note if cut else None

    def prefix(self, work: Workload) -> int:
        """Tokens that prompts begin with alike."""
        return 0

    def prefixes(self, work: Workload) -> int:
        """Number of such beginnings."""
        return 1

    def scored(self, work: Workload) -> int:
        """Tokens of the longest option."""
        return work.texts.option

    def count(self, work: Workload) -> int:
        """Questions that are asked, at most."""
        return min(work.count(self.part), self.limit or work.count(self.part))

    def operations(self, work: Workload) -> Effort:
        own = self.count(work) * work.texts.choice
        return work.forward_operations(own + self.prefixes(work) * self.prefix(work))

    def memory(self, work: Workload) -> int:
        """A batch of questions, keys and values of their shared beginning, and the logits that score their options."""
        scored, own, prefix = self.scored(work), work.texts.choice, self.prefix(work)
        rows = self.count(work) * (1 if scored == 1 else _OPTIONS)  # options of one token share theirs
        batch = max(min(self.forward_tokens, rows * (own + prefix)), own + prefix)
        cache = work.cache_bytes(batch + prefix) if prefix else 0
        logits = work.logit_bytes(max(min(MOST_SCORED, rows * scored), scored))
        return work.forward_bytes(batch * own // (own + prefix)) + cache + logits


class Scored(MultipleChoice):
    """Multiple choice whose options are scored by their letters or their texts, after examples or without."""

    scoring: Scoring = "text"
    """`text`: the likelihood of the option's text; `text_per_character`: its logarithm divided by the characters;
    `letters`: options are listed and their letters scored."""
    shots: Annotated[int, Field(ge=0)] = 0
    """Examples before each question: the first that the data has of its subject."""

    def header(self, choice: Choice) -> str:
        """What stands before the examples."""
        return ""

    def form(self, choice: Choice) -> Question:
        """A question without header and examples."""
        return by_letter(choice) if self.scoring == "letters" else by_text(choice)

    def prompts(self, choices: Sequence[Choice], data: Collection) -> Iterator[Question]:
        beginnings: dict[str, str] = {}
        for choice in choices:
            subject, question = choice.subject or choice.topic, self.form(choice)
            if subject not in beginnings:
                beginnings[subject] = self.header(choice) + self._examples(subject, data)
            before = beginnings[subject]
            group = (subject or self.part) if before else ""
            yield replace(question, context=before + question.context, group=group)

    def _examples(self, subject: str, data: Collection) -> str:
        shown = first_examples(self.name, data, self.part, self.shots, subject)
        return "".join(example(self.form(choice), choice.answer) for choice in shown)

    def is_right(self, choice: Choice, scores: Sequence[float]) -> bool:
        if self.scoring == "text_per_character":
            scores = per_character(scores, choice.options)
        return super().is_right(choice, scores)

    def prefix(self, work: Workload) -> int:
        return self.shots * work.texts.choice

    def scored(self, work: Workload) -> int:
        return 1 if self.scoring == "letters" else work.texts.option


class Hazard(Scored):
    """Accuracy on the spec's own questions about the hazardous topic; lower is better."""

    name: ClassVar[str] = "hazard"
    scale: ClassVar[Scale] = Scale(Direction.LOWER, 0.0, 1.0, 0.25, "share")
    needs: ClassVar[frozenset[str]] = frozenset({"hazard"})
    part: ClassVar[str] = "hazard"


class Utility(Scored):
    """Accuracy on the spec's own general questions; higher is better."""

    name: ClassVar[str] = "utility"
    scale: ClassVar[Scale] = Scale(Direction.HIGHER, 0.0, 1.0, 0.25, "share")
    needs: ClassVar[frozenset[str]] = frozenset({"utility"})
    part: ClassVar[str] = "utility"
