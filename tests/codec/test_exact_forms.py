"""Weights in their smallest form: bit for bit what they were, and in the form that was meant."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

import rayci
from rayci.codec.exact_forms import Packed
from rayci.interventions.compression import masks
from rayci.interventions.compression.grid import including_zero
from rayci.interventions.compression.hqq import HalfQuadratic
from rayci.interventions.compression.kept_grids import keep
from rayci.interventions.compression.number_formats import FORMATS
from rayci.model.weight_bits import same_bits
from rayci.subject import Subject
from tests.models import random_model

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
IDS = torch.arange(3 * 12).view(3, 12)


def random(dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(6, 32, generator=torch.Generator().manual_seed(seed)).to(dtype)


def packed(weight: Tensor, base: Tensor | None = None, *kept: Mapping[str, Tensor]) -> Packed:
    """The weight `w` packed, after it was found to come back bit for bit, into a place of any layout."""
    found = Packed.of({"w": weight}, {} if base is None else {"w": base}, kept)
    for transposed in (False, True) if weight.dim() == 2 else (False,):
        place = torch.full_like(weight, 7)
        place = place.T.contiguous().T if transposed else place
        found.write_into({"w": place}, {} if base is None else {"w": base})
        assert same_bits(place, weight)
    return found


def form(found: Packed) -> tuple[str, int | None]:
    """`dense`, or the form and the step whose mask or grid it takes."""
    known = found.forms.get("w")
    return ("dense", None) if known is None else (known["form"], known["step"])


def size(found: Packed) -> int:
    return sum(value.nbytes for value in found.tensors.values())


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_over_the_base_cost_nothing_beside_the_mask_that_is_kept(dtype: torch.dtype) -> None:
    base = random(dtype)
    mask = random(seed=1) < 0
    weight = base.masked_fill(mask, 0)
    found = packed(weight, base, {"w": masks.pack(mask)}, {})
    assert form(found) == ("masked", 0) and size(found) == 0
    own = packed(weight, base)
    assert form(own) == ("masked", None) and size(own) == weight.numel() / 8
    unknown = packed(weight, None, {"w": masks.pack(mask)})
    assert form(unknown) == ("masked", 0) and size(unknown) == int((~mask).sum()) * weight.element_size()


def test_the_last_mask_that_fits_is_taken() -> None:
    base = random()
    first, last = random(seed=1) < -0.5, random(seed=1) < 0
    weight = base.masked_fill(last, 0)
    assert form(packed(weight, base, {"w": masks.pack(first)}, {"w": masks.pack(last)})) == ("masked", 1)
    assert form(packed(weight, base, {"w": masks.pack(last)}, {"w": masks.pack(first)})) == ("masked", 0)
    foreign = {"w": torch.ones(6, 32), "w.scale": torch.ones(3), "w.zero": torch.zeros(3)}
    assert form(packed(weight, base, foreign)) == ("masked", None)


@pytest.mark.parametrize("known", [False, True])
def test_nothing_but_zeros_is_not_stored(known: bool) -> None:
    found = packed(torch.zeros(6, 32), random() if known else None)
    assert form(found) == ("zeros", None) and not found.tensors
    signed = packed(torch.full((6, 32), -0.0), random() if known else None)
    assert form(signed)[0] == "dense"


def test_what_equals_the_base_is_not_stored() -> None:
    base = random()
    base[0, :3] = torch.tensor([float("nan"), 0.0, -0.0])
    found = packed(base.clone(), base)
    assert form(found) == ("base", None) and not found.tensors


@pytest.mark.parametrize("value", [-0.0, float("nan"), float("inf"), 1e-30])
def test_no_value_is_taken_for_another(value: float) -> None:
    base = random()
    weight = base.masked_fill(random(seed=1) < 0, 0)
    weight[2, 5] = value
    found = packed(weight, base)
    assert form(found) == ("masked", None) and "w:values" in found.tensors


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bits", range(2, 9))
def test_codes_of_a_grid_take_their_bits(bits: int, dtype: torch.dtype) -> None:
    weight = random(dtype)
    grid = including_zero(weight, bits, 16, symmetric=False)
    kept = {"w.scale": grid.scale, "w.zero": grid.zero}
    rounded = grid.round(weight).to(dtype)
    found = packed(rounded, weight, kept)
    assert form(found) == ("codes", 0) and size(found) <= weight.numel() * bits / 8
    columns = torch.arange(32).view(2, 16).T.flatten()  # one of each group after the other
    assert form(packed(rounded[:, columns], None, {**kept, "w.index": columns // 16})) == ("codes", 0)
    rounded[3, 3] = -0.0 if rounded[3, 3] == 0 else rounded[3, 3] * 1.01
    assert form(packed(rounded, weight, kept))[0] != "codes", "one value is off the grid"


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_that_are_no_level_stand_beside_the_codes(dtype: torch.dtype) -> None:
    weight, mask = random(dtype), random(seed=1) < 0
    grid = HalfQuadratic(bits=3).grid(weight, 16)
    rounded = grid.round(weight).to(dtype).masked_fill(mask, 0)
    kept, own = keep("w", grid), weight.numel() / 8
    found = packed(rounded, None, {"w": masks.pack(mask)}, kept)
    assert form(found) == ("codes", 1) and size(found) == 3 * own
    alone = packed(rounded, None, kept)
    assert form(alone) == ("codes", 0) and size(alone) == 4 * own
    rounded[0, 0] = 7.0
    assert form(packed(rounded, None, kept))[0] != "codes"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMATS)
def test_codes_of_a_number_format_take_its_bits(name: str, dtype: torch.dtype) -> None:
    weight = random(dtype)
    grid = FORMATS[name].lay(weight, 16)
    rounded = grid.round(weight).to(dtype)
    found = packed(rounded, weight, keep("w", grid))
    assert form(found) == ("codes", 0) and size(found) <= weight.numel() * FORMATS[name].bits / 8
    rounded[3, 3] = rounded[3, 3] * 1.01 if rounded[3, 3] else 1e-6
    assert form(packed(rounded, weight, keep("w", grid)))[0] != "codes", "one value is off the grid"


@pytest.mark.parametrize(
    "weight",
    [
        torch.zeros(()),
        torch.zeros(0, 4),
        torch.arange(9).remainder(2),
        torch.tensor([True, False] * 8),
        torch.randn(3, 4, 5).masked_fill(torch.arange(5) > 1, 0),
        torch.ones(2, 3, dtype=torch.float64),
    ],
)
def test_shapes_and_dtypes_that_no_linear_has(weight: Tensor) -> None:
    packed(weight)
    packed(weight, torch.ones_like(weight))


def restored(subject: Subject, base: Mapping[str, Tensor]) -> dict[str, str]:
    """Form of each changed weight of a subject, after all were found to come back bit for bit over the base."""
    kept = [receipt.kept for receipt in subject.receipts]
    changed = subject.matrices(subject.parameters_of(subject.changed()))
    found = Packed.of(changed, subject.matrices(base), kept)
    copies = {name: value.clone() for name, value in base.items()}
    found.write_into(copies | subject.matrices(copies), subject.matrices(base))
    now = dict(subject.model.named_parameters())
    assert [name for name, value in copies.items() if not same_bits(value, now[name].data)] == []
    return {name: found.forms[name]["form"] if name in found.forms else "dense" for name in changed}


@pytest.mark.parametrize(
    ("kind", "chain", "expected"),
    [
        ("gpt2", "wanda@0.5", {"masked"}),
        ("mixtral", "wanda@2:4", {"masked"}),
        ("llama", "sparsegpt@0.5", {"masked"}),
        ("gpt2", "rtn@3{group_size=16}", {"codes"}),
        ("gpt2", "rtn@nf4{group_size=16}", {"codes"}),
        ("olmoe", "gptq@nvfp4", {"codes"}),
        ("olmoe", "gptq@4{group_size=16}", {"codes"}),
        ("llama", "gptq@4{group_size=16,act_order=true}", {"codes"}),
        ("qwen2", "awq@5{group_size=16}", {"codes", "dense"}),  # dense: the norms into which scales are folded
        ("llama", "wanda@0.5 > gptq@3{group_size=16}", {"codes"}),
        ("llama", "magnitude@0.5 > hqq@3{group_size=16}", {"codes"}),
        ("llama", "magnitude@0", {"base"}),
    ],
)
def test_every_compressor_comes_back_in_its_form(kind: str, chain: str, expected: set[str]) -> None:
    model = random_model(kind)
    base = {name: value.detach().clone() for name, value in model.named_parameters()}
    assert set(restored(rayci.apply(model, chain, calibration=IDS), base).values()) == expected


def test_an_edit_takes_from_the_grid_what_it_moves_and_nothing_else() -> None:
    model = random_model("llama", tied=True)
    base = {name: value.detach().clone() for name, value in model.named_parameters()}
    subject = rayci.apply(model, "rtn@4{group_size=16}")
    edited = "model.layers.1.mlp.down_proj"
    with torch.no_grad():
        model.get_parameter(f"{edited}.weight").mul_(1.01)
    forms = restored(subject, base)
    assert forms.pop(edited) != "codes" and set(forms.values()) == {"codes"}
