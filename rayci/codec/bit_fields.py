"""Whole numbers of a few bits, side by side. Pure tensor maths.

Number k takes the bits k · width to (k + 1) · width − 1, byte after byte, least significant bit first: as
compressed-tensors packs them into int32, and with a width of 1 as masks are kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

_AT_ONCE = 8
"""Numbers that become one int64, a byte each at first: three steps push neighbours together, 2, 4, then 8."""


def pack(numbers: Tensor, width: int) -> Tensor:
    """`numbers` from 0 to 2^width − 1, width 1 to 8, as bits: uint8 `[ceil(count · width / 8)]`, on their device."""
    flat = numbers.flatten().to(torch.uint8)
    size = -(-len(flat) * width // 8)
    words = torch.nn.functional.pad(flat, (0, -len(flat) % _AT_ONCE)).view(torch.int64)
    for lane in (8, 16, 32):
        low = _low_bits(width * lane // 8, lane)
        high = (words >> (lane - width * lane // 8)).bitwise_and_(_signed(low << (width * lane // 8)))
        words = words.bitwise_and(_signed(low)).bitwise_or_(high)
    return words.view(torch.uint8).view(-1, _AT_ONCE)[:, :width].reshape(-1)[:size].contiguous()


def unpack(bits: Tensor, width: int, count: int) -> Tensor:
    """The `count` numbers that `pack` packed, uint8 `[count]`."""
    groups = -(-count // _AT_ONCE)
    padded = torch.nn.functional.pad(bits, (0, groups * width - len(bits))).view(groups, width)
    words = torch.nn.functional.pad(padded, (0, _AT_ONCE - width)).view(torch.int64).flatten()
    for lane in (32, 16, 8):
        low = _low_bits(width * lane // 8, lane)
        high = (words << (lane - width * lane // 8)).bitwise_and_(_signed(low << lane))
        words = words.bitwise_and(_signed(low)).bitwise_or_(high)
    return words.view(torch.uint8)[:count]


def _low_bits(bits: int, lane: int) -> int:
    """The lowest bits of every second lane of a 64-bit word."""
    return sum(((1 << bits) - 1) << start for start in range(0, 64, 2 * lane))


def _signed(word: int) -> int:
    """The number that torch's int64 takes for these 64 bits."""
    return word - (1 << 64) if word >> 63 else word
