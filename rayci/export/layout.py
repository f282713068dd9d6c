"""Packed weights as compressed-tensors lays them out (`pack-quantized`): tensors by name, and their configuration.

A packed linear has `weight_packed` (int32, 32 codes in as many words as a code has bits), `weight_scale`
(fp32), `weight_shape` and, where levels do not lie around 0, `weight_zero_point`, packed along the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from compressed_tensors import __version__ as version
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from rayci.codec import bit_fields
from rayci.export.packing import Packing

_FORMAT = "pack-quantized"
_WORD = 32
"""Bits of the whole numbers that codes are packed into."""


def tensors(model: PreTrainedModel, packing: Packing) -> dict[str, Tensor]:
    """The tensors of the checkpoint by the names that files have, experts one by one."""
    plain = {name: value for name, value in model.state_dict().items() if name not in packing.packed}
    laid = dict(revert_weight_conversion(model, plain))
    # Splitting a stacked parameter into experts does not ask what its last dimension holds.
    codes, scales, zeros = (
        revert_weight_conversion(model, {name: getattr(own, part) for name, own in packing.packed.items()})
        for part in ("codes", "scale", "zero")
    )
    for name, value in codes.items():
        laid |= {
            f"{name}_{part}": tensor.contiguous() for part, tensor in _module(packing, value, scales[name], zeros[name])
        }
    return laid


def _module(packing: Packing, codes: Tensor, scale: Tensor, zero: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield "packed", packed_rows(codes, packing.bits)
    yield "scale", scale
    yield "shape", torch.tensor(codes.shape)
    if not packing.symmetric:
        yield "zero_point", packed_rows(zero.T, packing.bits).T


def packed_rows(codes: Tensor, bits: int) -> Tensor:
    """Each row of codes `[out, in]` from −2^(b−1) on side by side, as int32 `[out, ceil(in · b / 32)]`."""
    rows, columns = codes.shape
    levels = torch.nn.functional.pad(codes.int() + 2 ** (bits - 1), (0, -columns % _WORD))
    words = bit_fields.pack(levels, bits).view(torch.int32).view(rows, -1)
    return words[:, : -(-columns * bits // _WORD)]


def needs_dequantising(model: PreTrainedModel, packing: Packing) -> bool:
    """Whether transformers must unpack while it loads to give the exact weights.

    It cannot hold packed zero points (compressed-tensors up to 0.20.1 expects them unpacked), and
    casts the scales of what it holds packed to the model's dtype.
    """
    return not packing.symmetric or model.dtype != torch.float32


def quantization_config(model: PreTrainedModel, packing: Packing) -> dict[str, Any]:
    """What `config.json` says of the packed weights; linears that are dense are named under `ignore`."""
    weights = QuantizationArgs(
        num_bits=packing.bits,
        symmetric=packing.symmetric,
        strategy="channel" if packing.group_size is None else "group",
        group_size=packing.group_size,
    )
    linears = (name for name, module in model.named_modules() if isinstance(module, nn.Linear))
    config = QuantizationConfig(
        config_groups={"group_0": QuantizationScheme(targets=["Linear"], weights=weights, format=_FORMAT)},
        format=_FORMAT,
        quantization_status="compressed",
        ignore=[name for name in linears if f"{name}.weight" not in packing.packed],
    )
    said: dict[str, Any] = {**config.model_dump(mode="json"), "version": version}
    return said | {"dequantize": True} if needs_dequantising(model, packing) else said
