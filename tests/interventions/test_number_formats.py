"""Number formats on paper, against torch's own casts, and against compressed-tensors where it runs here."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from compressed_tensors.quantization.quant_scheme import FP8, MXFP4A16, NVFP4A16
from compressed_tensors.quantization.utils.helpers import calculate_qparams, generate_gparam
from torch import Tensor

from rayci.interventions.compression.any_grid import AnyGrid
from rayci.interventions.compression.grid import Even, Grid
from rayci.interventions.compression.kept_grids import keep, restore
from rayci.interventions.compression.number_formats import E2M1, E4M3, FORMATS, NF4
from rayci.kinds import NUMBER_FORMATS
from rayci.model.weight_bits import same_bits
from tests.interventions.surgery import random

INFINITY, NAN = float("inf"), float("nan")
CPU = torch.device("cpu")


def block(*begin: float, size: int) -> Tensor:
    """A row of these weights, then zeros."""
    return torch.tensor([[*begin, *[0.0] * (size - len(begin))]])


def grid(name: str, weight: Tensor) -> Grid:
    made = FORMATS[name]
    return made.lay(weight, weight.shape[1] if made.block < 0 else made.block)


def rounded(name: str, weight: Tensor, count: int) -> list[float]:
    values: list[float] = grid(name, weight).round(weight)[0, :count].tolist()
    return values


def spread(seed: int, rows: int = 8, columns: int = 256) -> Tensor:
    """Weights whose rows and columns differ by many powers of two."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(-12, 3, (rows, columns // 16), generator=generator).repeat_interleave(16, 1)
    return random(rows, columns, seed) * 2.0**sizes


def all_of_float8() -> Tensor:
    """Every finite number of torch's float8_e4m3fn."""
    numbers = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    return numbers[torch.isfinite(numbers)]


def around(numbers: Tensor) -> Tensor:
    """The numbers, the middles between them, and the fp32 numbers beside all of these."""
    numbers = numbers.unique()
    points = torch.cat([numbers, (numbers[1:] + numbers[:-1]) / 2])
    up, down = (torch.full_like(points, side) for side in (INFINITY, -INFINITY))
    return torch.cat([points, torch.nextafter(points, up), torch.nextafter(points, down)])


def test_result_tables_know_all_formats() -> None:
    assert tuple(FORMATS) == NUMBER_FORMATS
    assert get_args(AnyGrid.model_fields["grid"].annotation) == ("int", *NUMBER_FORMATS)


def test_e4m3_is_what_torch_casts_to() -> None:
    values = torch.cat([around(all_of_float8()), torch.tensor([1e-30, -1e-30, -0.0, 449.0, -1e9])])
    cast = values.clamp(-448, 448).to(torch.float8_e4m3fn)
    assert same_bits(E4M3.nearest(values), cast.float() + 0.0)  # but for the sign of zero
    magnitude = (cast.view(torch.uint8) & 127).float()
    assert E4M3.codes(values).abs().equal(magnitude)
    assert E4M3.values(E4M3.codes(values)).equal(cast.float())


@pytest.mark.parametrize(
    ("value", "number", "code"),
    [
        (0.25, 0.0, 0),  # half-way to .5: to the even one
        (0.26, 0.5, 1),
        (0.75, 1.0, 2),
        (1.25, 1.0, 2),
        (1.75, 2.0, 4),
        (2.5, 2.0, 4),
        (3.5, 4.0, 6),
        (5.0, 4.0, 6),
        (5.01, 6.0, 7),
        (1e9, 6.0, 7),
        (-0.2, 0.0, 0),
        (-1.4, -1.5, -3),
        (-5.0, -4.0, -6),
    ],
)
def test_e2m1_by_hand(value: float, number: float, code: int) -> None:
    found = E2M1.nearest(torch.tensor([value]))
    assert same_bits(found, torch.tensor([number]))  # no −0
    assert E2M1.codes(torch.tensor([value])).tolist() == [code]


def test_e2m1_has_its_fifteen_numbers() -> None:
    codes = torch.arange(-7.0, 8.0)
    assert E2M1.values(codes).tolist() == [-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6]
    assert E2M1.codes(E2M1.values(codes)).equal(codes)


def test_nf4_is_the_published_table() -> None:
    """arXiv 2305.14314, appendix E, prints these digits."""
    published = "-1.0 -0.6961928009986877 -0.5250730514526367 -0.39491748809814453 -0.28444138169288635 "
    published += "-0.18477343022823334 -0.09105003625154495 0.0 0.07958029955625534 0.16093020141124725 "
    published += "0.24611230194568634 0.33791524171829224 0.44070982933044434 0.5626170039176941 0.7229568362236023 1.0"
    assert NF4.values(torch.arange(16.0)).equal(torch.tensor([float(number) for number in published.split()]))
    values = around(NF4.values(torch.arange(16.0)))
    distances = (values.double().unsqueeze(1) - torch.tensor(NF4.numbers, dtype=torch.float64)).abs()
    best = distances.gather(1, NF4.codes(values).long().unsqueeze(1)).squeeze(1)
    assert (best - distances.amin(1)).max() < 1e-7


def test_fp8_scales_rows_by_their_largest_by_hand() -> None:
    # scale 896/448 = 2: 33/2 = 16.5 lies between 16 and 18, 13/2 = 6.5 is a number, 27/2 = 13.5 goes to 14 (even)
    assert rounded("fp8", torch.tensor([[896.0, 33.0, 13.0, -27.0]]), 4) == [896.0, 32.0, 13.0, -28.0]


def test_fp8_is_torch_s_cast_over_the_scale() -> None:
    weight = spread(0)
    scale = weight.abs().amax(1, keepdim=True) / 448
    expected = (weight / scale).to(torch.float8_e4m3fn).float() * scale
    assert grid("fp8", weight).round(weight).equal(expected)


def test_mxfp4_by_hand() -> None:
    # 2^(⌊log₂ 5⌋ − 2) = 1
    assert rounded("mxfp4", block(5, -2.4, 0.3, 0.2, size=32), 4) == [4.0, -2.0, 0.5, 0.0]
    # 2^(⌊log₂ 15⌋ − 2) = 2: 15/2 = 7.5 is beyond 6, the largest; 7/2 = 3.5 goes to 4, 1/2 is a number
    assert rounded("mxfp4", block(15, 7, 1, -0.4, size=32), 4) == [12.0, 8.0, 1.0, 0.0]


def test_nvfp4_by_hand() -> None:
    # tensor scale 448 · 6/12 = 224. First block: 12/6 · 224 = 448; 1/2 → .5, −3/2 → −1.5.
    # Second: .7/6 · 224 = 26.13 → 26; .7/(26/224) = 6.03 → 6; .3/(26/224) = 2.58 → 3
    weight = torch.cat([block(12, 1, -3, size=16), block(0.7, 0.3, size=16)], dim=1)
    laid = grid("nvfp4", weight)
    assert laid.tensor_scale is not None and laid.tensor_scale.item() == 224
    assert keep("w", laid)["w.nvfp4"].float().tolist() == [[448.0, 26.0]]
    values = laid.round(weight)[0]
    assert values[:3].tolist() == [12.0, 1.0, -3.0]
    torch.testing.assert_close(values[16:18], torch.tensor([6 * 26 / 224, 3 * 26 / 224]))


def test_nf4_scales_blocks_by_their_largest_by_hand() -> None:
    # 2 is the largest: .9/2 = .45 is nearest to .4407, −.1/2 = −.05 to −.091 (its middle to 0 is −.0455)
    assert rounded("nf4", block(2, 0.9, -0.1, size=64), 3) == pytest.approx([2.0, 0.8814197, -0.1821001])


def compressed_tensors(scheme: dict[str, Any], weight: Tensor) -> tuple[Tensor, Tensor]:
    """What its own functions round a weight to, and the scale of every weight, as it divides by it."""
    args = scheme["weights"].model_copy(update={} if scheme["weights"].group_size else {"strategy": "channel"})
    groups = weight.unflatten(1, (-1, args.group_size)) if args.group_size else weight.unsqueeze(1)
    shared = generate_gparam(weight.amin(), weight.amax()) if scheme is NVFP4A16 else None
    scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args, shared)
    with torch.compiler.set_stance("force_eager"):
        values = fake_quantize(weight, scale, zero, args, shared)
    own = scale.float() if shared is None else scale.float() / shared
    return values, own.repeat_interleave(groups.shape[-1], 1)


@pytest.mark.parametrize(("name", "scheme"), [("fp8", FP8), ("nvfp4", NVFP4A16), ("mxfp4", MXFP4A16)])
def test_values_are_those_of_compressed_tensors(name: str, scheme: dict[str, Any]) -> None:
    """Bit for bit wherever the scales are: nvfp4's least is .125 there, in the place of 0, and mxfp4's is doubled where
    the largest weight is 7 or more of them, so that none is beyond 6."""
    weight = spread(0, rows=64)
    values, scale = compressed_tensors(scheme, weight)
    laid = grid(name, weight)
    (ours,) = laid.by_column(weight.shape[1])
    alike = ours == scale
    assert laid.round(weight)[alike].equal(values[alike])
    largest = (
        weight.unflatten(1, (-1, 256 // laid.scale.shape[1]))
        .abs()
        .amax(-1)
        .repeat_interleave(256 // laid.scale.shape[1], 1)
    )
    if name == "mxfp4":
        assert (scale == torch.where(largest >= 7 * ours, 2 * ours, ours)).all()
    else:
        assert alike.double().mean() > 0.95
        assert name == "nvfp4" or alike.all()


@pytest.mark.parametrize("name", FORMATS)
def test_every_level_is_kept_and_comes_back(name: str) -> None:
    weight = spread(1)
    laid = grid(name, weight)
    values = laid.round(weight)
    assert laid.values(laid.codes(weight)).equal(values)
    assert laid.round(values).equal(values)
    kept = keep("w", laid)
    again = restore(kept, "w", Even(0, 15), CPU)
    assert again is not None and again.levels is FORMATS[name]
    assert again.scale.equal(laid.scale)
    assert 8 * sum(value.nbytes for value in kept.values()) == FORMATS[name].scale_bits * laid.scale.numel() + (
        FORMATS[name].tensor_bits
    )


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [0.0, 1e-42, 1e-37, 1e-20, 1e30])
def test_zeros_and_weights_of_any_size(name: str, size: float) -> None:
    """No scale is 0, none infinite; zeros are met, and large and small blocks as others are."""
    weight = random(4, 128, 0) * size
    weight[0] = 0
    laid = grid(name, weight)
    assert bool((laid.scale > 0).all()) and bool(torch.isfinite(laid.scale).all())
    values = laid.round(weight)
    assert bool(torch.isfinite(values).all()) and not values[0].any()
    if size > 1e-30:
        assert (values - weight).double().norm() < 0.15 * weight.double().norm()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("value", [INFINITY, -INFINITY, NAN])
def test_what_is_not_finite_shows_in_the_scale(name: str, value: float) -> None:
    weight = random(4, 128, 0)
    weight[2, 70] = value
    assert not bool(torch.isfinite(grid(name, weight).scale).all())


def test_a_block_far_below_the_matrix_takes_the_least_scale() -> None:
    weight = torch.cat([block(6.0, size=16), block(6e-6, 1.2e-5, size=16), block(0.0, size=16)], dim=1)
    laid = grid("nvfp4", weight)  # tensor scale 448, block scales 448, 9e−4 → 2^−9, 0 → 2^−9
    assert keep("w", laid)["w.nvfp4"].float().tolist() == [[448.0, 2**-9, 2**-9]]
    # 6e−6/(2^−9/448) = 1.376 → 1.5, twice that 2.75 → 3
    torch.testing.assert_close(laid.round(weight)[0, 16:18], torch.tensor([1.5, 3.0]) * 2**-9 / 448)
