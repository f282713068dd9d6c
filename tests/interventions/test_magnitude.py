"""Magnitude pruning on a matrix worked by hand, and exact counts on models."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rayci.context import Context
from rayci.errors import InterventionError, RequestError
from rayci.interventions.compression.lowest import lowest_in_matrix
from rayci.interventions.compression.magnitude import Magnitude
from rayci.model import modules
from rayci.testbed import collection
from tests.models import ARCHITECTURES, differing, tiny, weights

WEIGHT = torch.tensor([[1.0, -2.0, 3.0, -4.0], [8.0, 7.0, -6.0, 5.0], [0.5, 0.5, 0.5, 0.25], [9.0, -9.0, 9.0, 2.0]])
CONTEXT = Context(collection())


def columns(sparsity: float, *, parity: bool = False) -> list[list[int]]:
    mask = lowest_in_matrix(WEIGHT.abs(), sparsity, parity=parity)
    return [row.nonzero().flatten().tolist() for row in mask]


def test_the_lowest_of_the_matrix_go() -> None:
    # .25 .5 .5 .5 1 2 2 3 | 4 ...: half of sixteen are eight
    assert columns(0.5) == [[0, 1, 2], [], [0, 1, 2, 3], [3]]


def test_ties_fall_on_the_first_column_and_row() -> None:
    assert columns(2 / 16) == [[], [], [0, 3], []]
    assert columns(6 / 16) == [[0, 1], [], [0, 1, 2, 3], []]


def test_counts_are_cut_not_rounded() -> None:
    assert columns(0.99 / 16) == [[], [], [], []]
    assert columns(1.99 / 16) == [[], [], [3], []]


def test_parity_takes_the_threshold_and_its_ties_too() -> None:
    assert columns(0.5, parity=True) == [[0, 1, 2, 3], [], [0, 1, 2, 3], [3]]  # the threshold is 4
    assert columns(1 / 16, parity=True) == [[], [], [0, 1, 2, 3], []]  # it is .5, three times
    assert columns(0.0, parity=True) == [[], [], [3], []]


def counts(sparsity: float | str, **settings: Any) -> list[tuple[int, ...]]:
    """(zeros, elements, the numbers of zeros that rows have) of every linear."""
    subject = tiny()
    subject.apply(Magnitude.configure(strength=sparsity, settings=settings), CONTEXT)
    found = []
    for _, module in subject.linears():
        zeros = modules.weight(module) == 0
        found.append((int(zeros.sum()), zeros.numel(), *zeros.sum(1).unique().tolist()))
    return found


@pytest.mark.parametrize("sparsity", [0.25, 0.35, 0.45, 0.75])
def test_every_matrix_loses_exactly_its_share(sparsity: float) -> None:
    for zeros, elements, *rows in counts(sparsity):
        assert zeros == int(elements * sparsity)
        assert len(rows) > 1
    assert all(zeros == int(elements * sparsity) + 1 for zeros, elements, *_ in counts(sparsity, parity=True))
    assert all(len(rows) == 1 for _, _, *rows in counts(sparsity, scope="row"))


def test_two_of_four() -> None:
    assert all(zeros * 2 == elements for zeros, elements, *_ in counts("2:4"))


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_it_changes_the_linears_alone(kind: str, tied: bool) -> None:
    subject = tiny(kind, tied=tied)
    before = weights(subject)
    receipt = subject.apply(Magnitude(sparsity=0.5), CONTEXT)
    assert differing(subject, before) == set(receipt.changed) == {f"{name}.weight" for name, _ in subject.linears()}
    once = weights(subject)
    subject.apply(Magnitude(sparsity=0.5), CONTEXT, "reproject")
    assert differing(subject, once) == set()


def test_a_pattern_that_does_not_fit_is_refused_before_any_weight_changes() -> None:
    subject = tiny(intermediate_size=60)
    before = weights(subject)
    with pytest.raises(RequestError, match=r"mlp\.down_proj has 60 columns"):
        subject.apply(Magnitude.configure(strength="4:8"), CONTEXT)
    assert differing(subject, before) == set()


def test_weights_that_are_not_finite_fail_the_stage() -> None:
    subject = tiny()
    with torch.no_grad():
        modules.weight(next(subject.linears())[1])[0, 0] = float("nan")
    with pytest.raises(InterventionError, match="q_proj are not finite"):
        subject.apply(Magnitude(sparsity=0.5), CONTEXT)
