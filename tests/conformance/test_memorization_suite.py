"""Every criterion of memorization and of free writing passes the suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from rayci import registry
from rayci.conformance import CriterionConformance
from rayci.conformance.bench import fresh_testbed
from rayci.context import Context
from rayci.data.records import Document, QuestionAnswer
from rayci.data.rwku import ADVERSARIAL, FILL_IN_BLANK, QUESTION
from rayci.subject import Subject
from rayci.testbed import collection

KNOWN = collection()
KINDS = (FILL_IN_BLANK, QUESTION, ADVERSARIAL)


def plain(part: str) -> tuple[QuestionAnswer, ...]:
    """Questions of the testbed as data sets have them, without `Question: ` and ` Answer:`; every third of a kind."""
    asked = enumerate(getattr(KNOWN, part)[:15])
    return tuple(replace(item, prompt=item.prompt[10:-8], kind=KINDS[index % 3]) for index, item in asked)


FORGET, RETAIN = plain("forget_questions"), plain("retain_questions")
DATA = replace(
    KNOWN,
    passages=KNOWN.passages[:6],
    forget_questions=FORGET[:12],
    retain_questions=RETAIN[:12],
    triviaqa=RETAIN[:12],
    prompts=KNOWN.prompts[:6],
    shots=dict.fromkeys(("forget_questions", "retain_questions", "triviaqa"), RETAIN[12:]),
)
WORD = {"tokens": "the testbed answers with one word"}
WRITTEN: dict[str, Any] = {"limit": 3, "chat": True, "forward_tokens": 1}


def chatting() -> Subject:
    """A testbed with a chat template."""
    subject = fresh_testbed()
    subject.tokenizer.chat_template = "{{ messages[0]['content'] }}\nIt is known that "
    return subject


def suite(name: str, given: dict[str, Any], **others: Any) -> type[CriterionConformance]:
    """The suite of a criterion, on a handful of records."""

    class Suite(CriterionConformance):
        other_values: ClassVar[Mapping[str, Any]] = others
        unread: ClassVar[Mapping[str, str]] = {} if "tokens" in others else WORD

        def make(self) -> Any:
            return registry.criterion(name).model_validate(given)

        def subject(self) -> Subject:
            return chatting()

        def context(self) -> Context:
            return Context(DATA)

    return Suite


TestVerbatimMemorization = suite("verbmem", {"tokens": 12}, tokens=3, **WRITTEN)
KNOWLEDGE: dict[str, Any] = {"trailing_space": True, "shots": 0, **WRITTEN}
TestForgottenKnowledge = suite("knowmem_forget", {"tokens": 4}, **KNOWLEDGE)
TestRetainedKnowledge = suite("knowmem_retain", {"tokens": 4}, **KNOWLEDGE)
TestTriviaAnswers = suite("triviaqa_f1", {"tokens": 4}, shots=1, **WRITTEN)
TestFluency = suite("fluency", {"tokens": 12}, tokens=6, **WRITTEN)
TestFilledBlanks = suite("rwku_fb", {"tokens": 6}, **WRITTEN)
TestAnsweredQuestions = suite("rwku_qa", {"tokens": 6}, **WRITTEN)
TestAdversarialAnswers = suite("rwku_aa", {"tokens": 6}, **WRITTEN)


class TestPrivacyLeakage(CriterionConformance):
    other_values: ClassVar[Mapping[str, Any]] = {"lowest": 0.1, "retrain_auc": 0.4, "forward_tokens": 64}

    def make(self) -> Any:
        return registry.criterion("privleak")()

    def context(self) -> Context:
        """Texts that the model has not seen either way, so that it is undecided."""
        members = tuple(Document(passage.text) for passage in KNOWN.holdout[:12])
        return Context(replace(KNOWN, passages=(), members=members, holdout=KNOWN.holdout[12:22]))
