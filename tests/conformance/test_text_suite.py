"""Criteria of text and of what the weights cost keep the rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from rayci import registry
from rayci.conformance import CriterionConformance
from rayci.conformance.bench import small_context
from rayci.context import Context
from rayci.testbed import collection

TEXT = {"window": 64, "separator": " ", "forward_tokens": 100}


def short_context() -> Context:
    """The testbed's data with few documents of evaluation text."""
    documents = collection().evaluation
    return replace(small_context(), data=replace(collection(), evaluation=documents[:3], wikitext=documents[3:7]))


def suite(criterion: str, **values: Any) -> type[CriterionConformance]:
    """The suite of a built-in criterion on little text."""

    class Suite(CriterionConformance):
        other_values: ClassVar[dict[str, Any]] = values

        def make(self) -> Any:
            return registry.criterion(criterion)()

        def context(self) -> Context:
            return short_context()

    return Suite


TestPerplexity = suite("perplexity", **TEXT)
TestWikitext = suite("wikitext_ppl", **TEXT)
TestGeneralLoss = suite("general_nll", **TEXT)
TestLossRatio = suite("nll_ratio", **TEXT)
TestEditLoss = suite("edit_nll", forward_tokens=100)
TestEditTeacherForced = suite("edit_teacher_forced", forward_tokens=100)
