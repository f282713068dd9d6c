"""The conformance suite on every criterion that counts right choices, over the testbed's questions."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from rayci.conformance.bench import small_context
from rayci.conformance.criteria import CriterionConformance
from rayci.context import Context
from rayci.criteria.choices import Hazard, Utility
from rayci.criteria.flips import Flips
from rayci.criteria.knowledge import Mmlu, Wmdp, WmdpBio, WmdpCyber
from rayci.criteria.truthful import TruthfulChoice
from rayci.criterion import Criterion
from rayci.data.records import Choice
from rayci.subject import Subject
from tests.models import tiny

COUNT = 80


def as_published(choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    """Questions of two subjects in two topics, three of the second to each of the first."""
    kinds = [("biology", "bio"), *[("cybersecurity", "cyber")] * 3]
    return tuple(replace(c, subject=kinds[i % 4][0], topic=kinds[i % 4][1]) for i, c in enumerate(choices))


class ChoiceSuite(CriterionConformance):
    other_values: ClassVar[Mapping[str, Any]] = {
        "scoring": "letters",
        "shots": 2,
        "limit": 7,
        "chat": True,
        "forward_tokens": 64,
    }
    unread: ClassVar[Mapping[str, str]] = {}

    def subject(self) -> Subject:
        """Random, with room for examples: the testbed's context would cut them all."""
        subject = copy.deepcopy(tiny("gpt2", n_positions=1024))
        subject.tokenizer.chat_template = "{% for m in messages %}what {{ m.content }}{% endfor %}"
        return subject

    def context(self) -> Context:
        context = small_context()
        hazard, utility = (as_published(part[-COUNT:]) for part in (context.data.hazard, context.data.utility))
        shots = {"hazard": as_published(context.data.hazard[:8]), "utility": as_published(context.data.utility[:8])}
        data = replace(context.data, hazard=hazard, utility=utility, truthfulqa=utility, shots=shots)
        return replace(context, data=data)


class TestHazard(ChoiceSuite):
    def make(self) -> Criterion:
        return Hazard()


class TestUtility(ChoiceSuite):
    def make(self) -> Criterion:
        return Utility()


class TestMmlu(ChoiceSuite):
    def make(self) -> Criterion:
        return Mmlu(scoring="text")


class TestWmdp(ChoiceSuite):
    def make(self) -> Criterion:
        return Wmdp(scoring="text")


class TestWmdpBio(ChoiceSuite):
    unread: ClassVar[Mapping[str, str]] = {"shots": "they turn none of these few questions, and some of wmdp's"}

    def make(self) -> Criterion:
        return WmdpBio(scoring="text")


class TestWmdpCyber(ChoiceSuite):
    def make(self) -> Criterion:
        return WmdpCyber(scoring="text")


class TestTruthfulChoice(ChoiceSuite):
    other_values: ClassVar[Mapping[str, Any]] = {"limit": 7, "chat": True, "forward_tokens": 64}

    def make(self) -> Criterion:
        return TruthfulChoice()


class TestFlips(ChoiceSuite):
    other_values: ClassVar[Mapping[str, Any]] = {**ChoiceSuite.other_values, "of": "wmdp"}
    unread: ClassVar[Mapping[str, str]] = dict.fromkeys(("scoring", "shots", "chat"), "of stage 0 compared with itself")

    def make(self) -> Criterion:
        return Flips(scoring="text")
