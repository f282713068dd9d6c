"""Packed zero masks: round trip of any shape, and what `reapply` touches."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from rayci.interventions.compression import masks
from rayci.model import modules
from tests.models import differing, tiny, weights


@given(rows=st.integers(1, 9), columns=st.integers(1, 17), seed=st.integers(0, 1000))
def test_any_mask_survives_packing(rows: int, columns: int, seed: int) -> None:
    mask = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)) < 0.5
    bits = masks.pack(mask)
    assert bits.dtype == torch.uint8
    assert bits.numel() == -(-rows * columns // 8)
    assert masks.unpack(bits, mask.shape).equal(mask)


def test_bits_are_in_order_from_the_lowest() -> None:
    # elements 0, 3 and 9 are set: 1 + 8 = 9 in the first byte, bit 1 = 2 in the second
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[0, 0] = mask[0, 3] = mask[1, 4] = True
    assert masks.pack(mask).tolist() == [9, 2]


def test_a_transposed_mask_is_packed_as_it_is_read() -> None:
    mask = torch.tensor([[True, False, False], [True, True, False]]).T
    assert masks.unpack(masks.pack(mask), mask.shape).equal(mask)


def test_reapply_zeroes_the_mask_and_nothing_else() -> None:
    subject = tiny()
    before = weights(subject)
    name, module = next(subject.linears())
    mask = torch.zeros_like(modules.weight(module), dtype=torch.bool)
    mask[0, 1] = mask[2, 3] = True
    receipt = masks.reapply(subject, {name: masks.pack(mask)})
    assert receipt.changed == (f"{name}.weight",)
    assert differing(subject, before) == {f"{name}.weight"}
    expected = before[f"{name}.weight"].clone()
    expected[0, 1] = expected[2, 3] = 0
    assert modules.weight(module).equal(expected)
