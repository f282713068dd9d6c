"""Wanda on matrices worked by hand, and exact sparsity on models."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rayci.context import Context
from rayci.errors import InterventionError, RequestError
from rayci.interventions.compression.wanda import Wanda, lowest_in_group, lowest_in_row, scores
from rayci.model import modules
from rayci.testbed import collection
from tests.models import differing, tiny, weights

WEIGHT = torch.tensor([[1.0, -2.0, 3.0, -4.0], [4.0, 3.0, 2.0, 1.0], [0.5, 0.5, 0.5, 0.5], [-1.0, 1.0, -1.0, 1.0]])
TOKENS = torch.tensor([[3.0, 0.0, 1.0, 0.0], [4.0, 1.0, 0.0, 2.0]])
# Norms of the four input channels over the two tokens: √25 = 5, √1 = 1, √1 = 1, √4 = 2.
SCORES = torch.tensor([[5.0, 2.0, 3.0, 8.0], [20.0, 3.0, 2.0, 2.0], [2.5, 0.5, 0.5, 1.0], [5.0, 1.0, 1.0, 2.0]])
SMALL: dict[str, Any] = {"sequences": 3, "length": 24}


def by_hand() -> Tensor:
    return scores(WEIGHT, TOKENS.square().sum(0))


def columns(mask: Tensor) -> list[list[int]]:
    return [row.nonzero().flatten().tolist() for row in mask]


def test_scores_are_magnitude_times_norm() -> None:
    assert by_hand().equal(SCORES)


def test_half_of_every_row_goes() -> None:
    assert columns(lowest_in_row(by_hand(), 0.5)) == [[1, 2], [2, 3], [1, 2], [1, 2]]


def test_ties_fall_on_the_first_column() -> None:
    # row 1 has 2 and 2 in columns 2 and 3, rows 2 and 3 tie in columns 1 and 2
    assert columns(lowest_in_row(by_hand(), 0.25)) == [[1], [2], [1], [1]]


def test_counts_are_cut_not_rounded() -> None:
    assert columns(lowest_in_row(by_hand(), 0.49)) == [[1], [2], [1], [1]]
    assert columns(lowest_in_row(by_hand(), 0.2)) == [[], [], [], []]


def test_one_of_two_looks_at_pairs_of_columns() -> None:
    # pairs (5 2)(3 8), (20 3)(2 2), (2.5 .5)(.5 1), (5 1)(1 2)
    assert columns(lowest_in_group(by_hand(), 1, 2)) == [[1, 2]] * 4


def test_two_of_four_never_looks_beyond_its_group() -> None:
    values = torch.tensor([[9.0, 8.0, 7.0, 6.0, 1.0, 2.0, 3.0, 4.0]])
    assert columns(lowest_in_group(values, 2, 4)) == [[2, 3, 4, 5]]
    assert columns(lowest_in_row(values, 0.5)) == [[4, 5, 6, 7]]


@given(st.integers(0, 10_000), st.integers(2, 40), st.floats(0, 0.99))
def test_with_equal_norms_it_is_magnitude_pruning(seed: int, width: int, sparsity: float) -> None:
    weight = torch.randn(5, width, generator=torch.Generator().manual_seed(seed))
    mask = lowest_in_row(scores(weight, torch.full((width,), 4.0)), sparsity)
    for row, pruned in zip(weight.abs().tolist(), mask.tolist(), strict=True):
        gone = sorted(range(width), key=row.__getitem__)[: int(width * sparsity)]
        assert pruned == [column in gone for column in range(width)]


@pytest.mark.parametrize("sparsity", [0.25, 0.35, 0.65, 0.75])
def test_every_row_loses_exactly_its_share(sparsity: float) -> None:
    subject = tiny()
    subject.apply(Wanda(sparsity=sparsity, **SMALL), Context(collection()))
    for _, module in subject.linears():
        zeros = (modules.weight(module) == 0).sum(1)
        assert set(zeros.tolist()) == {int(modules.weight(module).shape[1] * sparsity)}


@pytest.mark.parametrize("pattern", ["2:4", "4:8", "1:4"])
def test_every_group_loses_exactly_n(pattern: str) -> None:
    n, m = map(int, pattern.split(":"))
    subject = tiny()
    wanda = Wanda.configure(strength=pattern, settings=SMALL)
    assert wanda.gamma == float(Fraction(n, m))
    subject.apply(wanda, Context(collection()))
    for _, module in subject.linears():
        weight = modules.weight(module)
        assert set((weight == 0).view(len(weight), -1, m).sum(-1).flatten().tolist()) == {n}


def test_what_stays_is_untouched_and_so_is_the_rest_of_the_model() -> None:
    subject = tiny()
    before = weights(subject)
    receipt = subject.apply(Wanda(sparsity=0.5, **SMALL), Context(collection()))
    assert differing(subject, before) == set(receipt.changed)
    assert set(receipt.changed) == {f"{name}.weight" for name, _ in subject.linears()}
    for name in receipt.changed:
        now = dict(subject.model.named_parameters())[name]
        assert now.equal(before[name] * (now != 0))


def test_sparsity_zero_changes_nothing() -> None:
    subject = tiny()
    before = weights(subject)
    subject.apply(Wanda(sparsity=0.0, **SMALL), Context(collection()))
    assert differing(subject, before) == set()


def test_a_pattern_that_does_not_fit_is_refused_before_any_weight_changes() -> None:
    subject = tiny(intermediate_size=60)  # the last linear of a block: those before it would fit
    before = weights(subject)
    with pytest.raises(RequestError, match=r"mlp\.down_proj has 60 columns"):
        subject.apply(Wanda.configure(strength="4:8", settings=SMALL), Context(collection()))
    assert differing(subject, before) == set()


@pytest.mark.parametrize("strength", ["4:2", "2:2", "0:4", "a:b", 1.0, -0.1, "half"])
def test_strengths_out_of_range_are_refused(strength: float | str) -> None:
    with pytest.raises(RequestError, match="sparsity"):
        Wanda.configure(strength=strength)


def test_activations_that_are_not_finite_fail_the_stage() -> None:
    subject = tiny()
    with torch.no_grad():
        subject.model.get_input_embeddings().weight.fill_(float("inf"))  # type: ignore[operator]
    with pytest.raises(InterventionError, match="not finite"):
        subject.apply(Wanda(sparsity=0.5, **SMALL), Context(collection()))
