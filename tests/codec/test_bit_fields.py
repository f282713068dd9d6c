"""Numbers of a few bits, side by side: against Python's integers, and against those who read the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from compressed_tensors.compressors import pack_to_int32

from rayci.codec.bit_fields import pack, unpack
from rayci.export.layout import packed_rows
from rayci.interventions.compression import masks


def numbers(count: int, width: int) -> torch.Tensor:
    return torch.randint(0, 2**width, (count,), dtype=torch.uint8, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("width", range(1, 9))
def test_bits_are_those_of_one_large_number_and_come_back(width: int) -> None:
    for count in (0, 1, 7, 8, 9, 61):
        given = numbers(count, width)
        bits = pack(given, width)
        assert len(bits) == -(-count * width // 8)
        large = sum(number << width * place for place, number in enumerate(given.tolist()))
        assert int.from_bytes(bytes(bits.tolist()), "little") == large
        assert torch.equal(unpack(bits, width, count), given)


@pytest.mark.parametrize("width", range(1, 9))
def test_rows_are_what_compressed_tensors_packs(width: int) -> None:
    for columns in (64, 40):
        codes = (numbers(3 * columns, width).view(3, columns).int() - 2 ** (width - 1)).to(torch.int8)
        assert torch.equal(packed_rows(codes, width), pack_to_int32(codes, width))
        assert torch.equal(packed_rows(codes, width).T, pack_to_int32(codes.T, width, packed_dim=0))


def test_masks_are_numbers_of_one_bit() -> None:
    mask = numbers(83, 1).view(1, 83).bool()
    assert masks.pack(mask).tolist() == np.packbits(mask.numpy(), bitorder="little").tolist()
    assert torch.equal(masks.unpack(masks.pack(mask), mask.shape), mask)
