"""Packed weights as compressed-tensors lays them out: tensors by name, and their configuration.

levels a scale apart   `weight_packed` (int32, 32 codes in as many words as a code has bits), `weight_scale`
                       (fp32), `weight_shape` and, where they do not lie around 0, `weight_zero_point`,
                       packed along the rows
fp8                    `weight` (float8_e4m3fn), `weight_scale` (fp32)
mxfp4, nvfp4           `weight_packed` (uint8, the first of two numbers in the lower bits), `weight_scale` (the
                       exponent as uint8, or float8_e4m3fn) and of nvfp4 `weight_global_scale` (fp32)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import torch
from compressed_tensors import __version__ as version
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from rayci.codec import bit_fields
from rayci.export.codes import PACKED_AS, Codes
from rayci.export.packing import Packing

_WORD = 32
"""Bits of the whole numbers that codes are packed into."""
_OF_FORMAT: Mapping[str, Mapping[str, Any]] = {
    "int": {},
    "fp8": {"type": "float"},
    "mxfp4": {"type": "float", "scale_dtype": torch.uint8},
    "nvfp4": {"type": "float", "scale_dtype": torch.float8_e4m3fn, "strategy": "tensor_group"},
}
"""What the configuration says of a format beside bits and groups."""


def tensors(model: PreTrainedModel, packing: Packing) -> dict[str, Tensor]:
    """The tensors of the checkpoint by the names that files have, experts one by one."""
    plain = {name: value for name, value in model.state_dict().items() if name not in packing.packed}
    laid = dict(revert_weight_conversion(model, plain))
    # Splitting a stacked parameter into experts does not ask what its last dimension holds.
    parts = {
        part.name: revert_weight_conversion(
            model,
            {name: value for name, own in packing.packed.items() if (value := getattr(own, part.name)) is not None},
        )
        for part in fields(Codes)
    }
    for name in parts["codes"]:
        own = Codes(**{part: values[name] for part, values in parts.items() if name in values})
        laid |= {name + ending: tensor.contiguous() for ending, tensor in _module(packing, own)}
    return laid


def _module(packing: Packing, own: Codes) -> Iterator[tuple[str, Tensor]]:
    """Tensors of one linear by what their names have beyond `weight`."""
    yield "_scale", own.scale
    if packing.levels == "int":
        yield "_packed", packed_rows(own.codes, packing.bits)
        yield "_shape", torch.tensor(own.codes.shape)
        if not packing.symmetric:
            assert own.zero is not None
            yield "_zero_point", packed_rows(own.zero.T, packing.bits).T
        return
    numbers = number_bits(own.codes, packing.bits)
    if packing.bits == 8:
        yield "", numbers.view(torch.float8_e4m3fn)
    else:
        yield "_packed", bit_fields.pack(numbers, packing.bits).view(len(numbers), -1)
    if own.tensor_scale is not None:
        yield "_global_scale", own.tensor_scale


def number_bits(codes: Tensor, bits: int) -> Tensor:
    """The bits of a format's numbers, the sign first, as uint8: those of magnitudes are their places."""
    return codes.abs().to(torch.uint8) | (codes < 0).to(torch.uint8) << (bits - 1)


def packed_rows(codes: Tensor, bits: int) -> Tensor:
    """Each row of codes `[out, in]` from −2^(b−1) on side by side, as int32 `[out, ceil(in · b / 32)]`."""
    rows, columns = codes.shape
    levels = torch.nn.functional.pad(codes.int() + 2 ** (bits - 1), (0, -columns % _WORD))
    words = bit_fields.pack(levels, bits).view(torch.int32).view(rows, -1)
    return words[:, : -(-columns * bits // _WORD)]


def needs_dequantising(model: PreTrainedModel, packing: Packing) -> bool:
    """Whether transformers must unpack while it loads to give the exact weights, or is best asked to.

    Of levels a scale apart it cannot hold packed zero points (compressed-tensors up to 0.20.1 expects them unpacked),
    and casts the scales of what it holds packed to the model's dtype.
    """
    return packing.levels != "int" or not packing.symmetric or model.dtype != torch.float32


def quantization_config(model: PreTrainedModel, packing: Packing) -> dict[str, Any]:
    """What `config.json` says of the packed weights; linears that are dense are named under `ignore`."""
    grouped = {"strategy": "channel" if packing.group_size is None else "group", "group_size": packing.group_size}
    said = {"num_bits": packing.bits, "symmetric": packing.symmetric, **grouped, **_OF_FORMAT[packing.levels]}
    weights, form = QuantizationArgs(**said), PACKED_AS[packing.levels]
    linears = (name for name, module in model.named_modules() if isinstance(module, nn.Linear))
    config = QuantizationConfig(
        config_groups={"group_0": QuantizationScheme(targets=["Linear"], weights=weights, format=form)},
        format=form,
        quantization_status="compressed",
        ignore=[name for name in linears if f"{name}.weight" not in packing.packed],
    )
    told: dict[str, Any] = {**config.model_dump(mode="json"), "version": version}
    return told | {"dequantize": True} if needs_dequantising(model, packing) else told
