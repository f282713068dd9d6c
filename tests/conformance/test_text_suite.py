"""Criteria of text and of what the weights cost keep the rules."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

import pytest

from rayci import registry
from rayci.conformance import CriterionConformance
from rayci.conformance.bench import fresh_testbed, small_context
from rayci.context import Context
from rayci.criteria.device_run import PeakBytes
from rayci.interventions.compression.rtn import RoundToNearest
from rayci.interventions.editing.finetuning import FineTuning
from rayci.subject import Subject
from rayci.testbed import collection

TEXT = {"window": 64, "separator": " ", "forward_tokens": 100}


def short_context() -> Context:
    """The testbed's data with few documents of evaluation text."""
    documents = collection().evaluation
    return replace(small_context(), data=replace(collection(), evaluation=documents[:3], wikitext=documents[3:7]))


@cache
def _changed() -> Subject:
    """A testbed that was trained and then quantised, its untouched weights kept."""
    subject = fresh_testbed()
    subject.remember_base()
    subject.apply(FineTuning(layers=(1, 2), lr=1e-3, steps=2), short_context())
    subject.apply(RoundToNearest(bits=4), short_context())
    return subject


def suite(
    criterion: str, *, changed: bool = False, quick: dict[str, Any] | None = None, **values: Any
) -> type[CriterionConformance]:
    """The suite of a built-in criterion on little text, on the untouched testbed or one that was `changed`."""

    class Suite(CriterionConformance):
        other_values: ClassVar[dict[str, Any]] = values

        def subject(self) -> Subject:
            return copy.deepcopy(_changed()) if changed else fresh_testbed()

        def make(self) -> Any:
            return registry.criterion(criterion)(**{} if quick is None else quick)

        def context(self) -> Context:
            return short_context()

    return Suite


TestPerplexity = suite("perplexity", **TEXT)
TestWikitext = suite("wikitext_ppl", **TEXT)
TestGeneralLoss = suite("general_nll", **TEXT)
TestLossRatio = suite("nll_ratio", batch=1, **TEXT)
TestEditLoss = suite("edit_nll", batch=1, forward_tokens=100)
TestEditTeacherForced = suite("edit_teacher_forced", changed=True, batch=1, forward_tokens=100)
TestDivergence = suite("kl_to_base", changed=True, **TEXT)
TestParametersChanged = suite("params_changed", changed=True)
TestOperations = suite("flops", changed=True)
TestUpdateSurvival = suite("update_survival", changed=True)
BRIEF = {"prompt_tokens": 4, "new_tokens": 2, "repeats": 1}
TestLatency = suite("latency", quick=BRIEF, prompt_tokens=5, new_tokens=3, repeats=2)


@pytest.mark.gpu
class TestPeakBytes(CriterionConformance):
    """On a GPU: nowhere else is memory counted."""

    other_values: ClassVar[dict[str, Any]] = {"prompt_tokens": 9}
    unread: ClassVar[dict[str, str]] = {"new_tokens": "the pass over the prompt holds the most"}

    def make(self) -> Any:
        return PeakBytes()

    def subject(self) -> Subject:
        subject = fresh_testbed()
        subject.model.to("cuda")
        return subject

    def test_it_computes_where_the_model_is(self) -> None:
        """An emulated device counts no memory; the others of these rules ran on a real one."""
