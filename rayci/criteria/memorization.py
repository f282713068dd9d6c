"""What a model keeps of texts word by word, and of what they say (MUSE, arXiv 2407.06460, section 3).

    verbmem = 100 · mean over passages of ROUGE-L F1(128 greedy tokens after the prompt, true continuation)
    knowmem = 100 · mean over questions of ROUGE-L F1(32 greedy tokens after "Question: … Answer:", true answer)

ROUGE-L without stemmer. The true continuation is cut to as many token ids as are written, special tokens counted, as
published. An answer ends before a blank line or the next question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from rayci.criteria.evaluation.greedy_texts import text_of
from rayci.criteria.text_overlap import rouge_l_f1
from rayci.criteria.written_text import AfterExamples, WrittenText
from rayci.data.records import Passage, QuestionAnswer
from rayci.kinds import Direction, Scale
from rayci.model.encoding import prompt_ids
from rayci.workload import Workload

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_POINTS = 100.0
_FORGOTTEN = Scale(Direction.LOWER, 0.0, _POINTS, 0.0, "points")
_KEPT = Scale(Direction.HIGHER, 0.0, _POINTS, 0.0, "points")


class VerbatimMemorization(WrittenText):
    """How closely the model goes on with passages that should be forgotten."""

    name: ClassVar[str] = "verbmem"
    item: ClassVar[str] = "passage"
    scale: ClassVar[Scale] = _FORGOTTEN
    needs: ClassVar[frozenset[str]] = frozenset({"passages"})
    part: ClassVar[str] = "passages"

    tokens: Annotated[int, Field(ge=1)] = 128
    """Tokens that the model writes, at most, and that count of the true continuation."""

    def turn(self, record: Passage) -> tuple[str, str]:
        return record.prompt, ""

    def score(self, tokenizer: PreTrainedTokenizerBase, text: str, record: Passage) -> float:
        true = text_of(tokenizer, prompt_ids(tokenizer, record.continuation)[: self.tokens])
        return _POINTS * rouge_l_f1(text, true)

    def asked_tokens(self, work: Workload) -> int:
        return work.cut(work.context)


class _KnowledgeMemorization(AfterExamples):
    stops: ClassVar[tuple[str, ...]] = ("\n\n", "\nQuestion", "Question:")
    published_shots: ClassVar[int] = 10

    tokens: Annotated[int, Field(ge=1)] = 32
    """Tokens that the model writes, at most."""
    trailing_space: bool = False
    """Whether prompts end with a space, as the published ones do; many tokenizers then see no word begin."""

    def turn(self, record: QuestionAnswer) -> tuple[str, str]:
        return _question(record), "Answer: " if self.trailing_space else "Answer:"

    def example(self, record: QuestionAnswer) -> str:
        return f"{_question(record)}Answer: {record.answer}\n\n"

    def score(self, tokenizer: PreTrainedTokenizerBase, text: str, record: Any) -> float:
        return _POINTS * rouge_l_f1(text, record.answer)


def _question(record: QuestionAnswer) -> str:
    """A question up to its `Answer:`; one that is written so already, as the testbed's are, stays as it is."""
    whole = record.prompt.removesuffix("Answer:")
    return whole if whole != record.prompt else f"Question: {record.prompt}\n"


class ForgottenKnowledge(_KnowledgeMemorization):
    """How well the model answers questions about the texts that should be forgotten."""

    name: ClassVar[str] = "knowmem_forget"
    scale: ClassVar[Scale] = _FORGOTTEN
    needs: ClassVar[frozenset[str]] = frozenset({"forget_questions"})
    part: ClassVar[str] = "forget_questions"


class RetainedKnowledge(_KnowledgeMemorization):
    """How well the model answers questions about the texts that should be kept."""

    name: ClassVar[str] = "knowmem_retain"
    scale: ClassVar[Scale] = _KEPT
    needs: ClassVar[frozenset[str]] = frozenset({"retain_questions"})
    part: ClassVar[str] = "retain_questions"
