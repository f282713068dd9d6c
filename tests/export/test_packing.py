"""Checkpoints of quantised models: bit for bit what was quantised, at the size that the bits say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, CompressedTensorsConfig, PreTrainedModel

import rayci
from rayci import export
from rayci.export.packing import pack
from rayci.subject import Subject
from tests.models import random_model, weights

IDS = torch.arange(3 * 12).view(3, 12)


def saved(folder: Path, subject: Subject, **loading: Any) -> PreTrainedModel:
    export.save(subject, folder)
    model: PreTrainedModel
    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **loading)
    assert not any(report.values())
    return model


def logits(model: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        values: Tensor = model(IDS).logits
    return values


def assert_equal(model: PreTrainedModel, subject: Subject) -> None:
    assert torch.equal(logits(model), logits(subject.model))  # unpacks what was loaded packed
    loaded = dict(model.named_parameters())
    assert [name for name, value in weights(subject).items() if not torch.equal(loaded[name], value)] == []


@pytest.mark.parametrize(
    ("kind", "chain"),
    [
        ("llama", "gptq@4{group_size=16}"),
        ("llama", "gptq@3{group_size=16,symmetric=false}"),
        ("llama", "awq@4{group_size=16}"),
        ("llama", "awq@5{group_size=-1,symmetric=true}"),
        ("llama", "rtn@8{group_size=-1}"),
        ("llama", "rtn@2{range=absmax_tensor}"),
        ("llama", "wanda@0.5 > gptq@7{group_size=32}"),
        ("qwen2", "gptq@6{group_size=16,act_order=true,static_groups=true}"),
        ("gpt_neox", "rtn@4{range=absmax,group_size=16}"),
        ("mixtral", "gptq@4{group_size=16}"),
        ("qwen3_moe", "rtn@3{range=absmax,group_size=16}"),
        ("llama", "rtn@fp8"),
        ("phi3", "gptq@fp8{group_size=16}"),
        ("qwen2", "gptq@mxfp4"),
        ("llama", "layerdrop@2 > rtn@mxfp4"),
        ("mixtral", "rtn@fp8"),
    ],
)
def test_a_packed_checkpoint_loads_to_the_same_weights(kind: str, chain: str, tmp_path: Path) -> None:
    subject = rayci.apply(random_model(kind), chain, calibration=IDS)
    packing = pack(subject)
    assert packing is not None and packing.packed and not packing.dense
    assert_equal(saved(tmp_path / "out", subject), subject)


def test_a_tied_head_is_stored_once(tmp_path: Path) -> None:
    subject = rayci.apply(random_model("llama", tied=True), "rtn@4{group_size=16}")
    assert_equal(saved(tmp_path / "out", subject), subject)
    assert "lm_head.weight" not in load_file(tmp_path / "out" / "model.safetensors")


@pytest.mark.parametrize("chain", ["rtn@nvfp4", "gptq@nvfp4"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nvfp4_loads_rounded_to_bfloat16(dtype: torch.dtype, chain: str, tmp_path: Path) -> None:
    subject = rayci.apply(random_model("llama").to(dtype), chain, calibration=IDS)
    loaded = dict(saved(tmp_path / "out", subject).named_parameters())
    packing = pack(subject)
    assert packing is not None and len(packing.packed) == 21
    for name, value in weights(subject).items():
        expected = value.to(torch.bfloat16).to(dtype) if name in packing.packed else value
        assert torch.equal(loaded[name], expected), name
    card = (tmp_path / "out" / "README.md").read_text()
    assert "compressed-tensors, nvfp4, groups of 16 columns, `nvfp4-pack-quantized`" in card
    assert ("rounded to bfloat16" in card) == (dtype == torch.float32)


@pytest.mark.filterwarnings("ignore:You passed `quantization_config`")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_exact_too(dtype: torch.dtype, tmp_path: Path) -> None:
    random_model("llama").save_pretrained(tmp_path / "dense")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "dense", dtype=dtype)
    subject = rayci.apply(model, "gptq@4{group_size=16}", calibration=IDS)
    assert_equal(saved(tmp_path / "out", subject), subject)
    kept = AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", quantization_config=CompressedTensorsConfig(dequantize=False)
    )
    assert kept.model.layers[0].mlp.up_proj.weight_packed.dtype == torch.int32
    assert (logits(kept) - logits(subject.model)).abs().max() < 0.1 * logits(subject.model).abs().max()


def test_experts_in_half_precision_load_before_their_rounding(tmp_path: Path) -> None:
    subject = rayci.apply(random_model("mixtral").to(torch.bfloat16), "gptq@4{group_size=16}", calibration=IDS)
    loaded = dict(saved(tmp_path / "out", subject).named_parameters())
    differing = [
        name for name, value in weights(subject).items() if not torch.equal(loaded[name].to(torch.bfloat16), value)
    ]
    assert differing == []


@pytest.mark.parametrize(
    ("kind", "chain", "reason", "left"),
    [
        ("llama", "gptq@4{group_size=16,act_order=true}", "no runs of columns", 0),
        ("gpt2", "rtn@4{group_size=16}", "Conv1D", 0),
        ("olmoe", "rtn@4{group_size=16}", "only where all are packed", 0),
        ("olmoe", "rtn@fp8{group_size=16}", "fp8 by rows", 0),
        ("olmoe", "rtn@nvfp4", "only where all are packed", 0),
        ("llama", "rtn@nf4{group_size=32}", "no place for numbers of nf4", 0),
        ("llama", "hqq@4{group_size=16}", "no place for zeros between two levels", 0),
        ("llama", "rtn@4{group_size=16} > rtn@4{group_size=16,range=absmax}", "", 21),
    ],
)
def test_what_cannot_be_packed_is_dense_and_says_why(
    kind: str, chain: str, reason: str, left: int, tmp_path: Path
) -> None:
    subject = rayci.apply(random_model(kind), chain, calibration=IDS)
    packing = pack(subject)
    assert packing is not None and len(packing.packed) == left
    assert all(reason in said for said in packing.dense.values())
    assert_equal(saved(tmp_path / "out", subject), subject)
    assert reason in (tmp_path / "out" / "README.md").read_text()


def test_linears_off_the_grid_are_dense_beside_packed_ones(tmp_path: Path) -> None:
    subject = rayci.apply(random_model("llama"), "awq@4{group_size=16}", calibration=IDS)
    weight = subject.model.get_parameter("model.layers.1.mlp.up_proj.weight")
    weight.data[3, 5] += 0.01
    packing = pack(subject)
    assert packing is not None and len(packing.packed) == 20
    assert packing.dense == {"model.layers.1.mlp.up_proj.weight": "its weights are off the grid"}
    assert_equal(saved(tmp_path / "out", subject), subject)


def test_groups_of_one_sign_have_no_place_in_the_format() -> None:
    model = random_model("llama")
    model.get_parameter("model.layers.0.mlp.up_proj.weight").data[0, :16].abs_().add_(1)
    packing = pack(rayci.apply(model, "rtn@4{group_size=16}"))
    assert packing is not None
    assert "one sign" in packing.dense["model.layers.0.mlp.up_proj.weight"]


@pytest.mark.parametrize(
    "chain",
    [
        *("gptq@4", "gptq@3{group_size=64}", "rtn@2{group_size=32}", "rtn@8{range=absmax,group_size=-1}"),
        *("rtn@fp8", "rtn@mxfp4", "rtn@nvfp4"),
    ],
)
def test_size_on_disk_is_what_the_bits_say(chain: str, tmp_path: Path) -> None:
    """Of the packed linears; claimed bits count 32 a group for scale and zero point, of a format what it stores."""
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2}
    subject = rayci.apply(random_model("llama", **sizes), chain, calibration=IDS)
    (compressor, _), count = subject.compressors()[0], sum(m.weight.numel() for _, m in subject.linears())
    export.save(subject, tmp_path / "out")
    export.save(rayci.apply(random_model("llama", **sizes), "magnitude@0"), tmp_path / "dense")
    packed, dense = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("out", "dense"))
    bits = 32 - 8 * (dense - packed) / count
    assert bits == pytest.approx(compressor.claimed_bits(subject), rel=0.05)
