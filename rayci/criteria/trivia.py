"""Trivia questions, answered in a few words: F1 with the best of the right answers, as RWKU measures it.

    value = mean over questions of max over right answers of F1(first line of 30 greedy tokens, answer)

Prompts are `Q: …\\nA: …` examples, then the question (RWKU, arXiv 2406.10890). F1 over bags of words as in SQuAD.
RWKU's five examples stand in its code, TriviaQA's come from its train split; where the data has none there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from rayci.criteria.text_overlap import answer_f1
from rayci.criteria.written_text import AfterExamples
from rayci.data.records import Collection, QuestionAnswer
from rayci.kinds import UNIT_INTERVAL, Scale

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TriviaAnswers(AfterExamples):
    """How well the model answers trivia questions."""

    name: ClassVar[str] = "triviaqa_f1"
    scale: ClassVar[Scale] = UNIT_INTERVAL
    needs: ClassVar[frozenset[str]] = frozenset({"triviaqa"})
    part: ClassVar[str] = "triviaqa"
    stops: ClassVar[tuple[str, ...]] = ("\n",)
    published_shots: ClassVar[int] = 6

    tokens: Annotated[int, Field(ge=1)] = 30
    """Tokens that the model writes, at most."""

    def examples(self, data: Collection) -> str:
        shown = super().examples(data)
        return f"{shown}Please briefly answer the following question:\n" if shown else ""

    def example(self, record: QuestionAnswer) -> str:
        return f"Q: {record.prompt}\nA: {record.answer}\n"

    def turn(self, record: QuestionAnswer) -> tuple[str, str]:
        return f"Q: {record.prompt}\n", "A:"

    def score(self, tokenizer: PreTrainedTokenizerBase, text: str, record: QuestionAnswer) -> float:
        return answer_f1(text, (record.answer, *record.aliases))
