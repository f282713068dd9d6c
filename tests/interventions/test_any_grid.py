"""Number formats as grids of quantisers: how they are asked for, what they do to models, what is said of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from rayci import registry
from rayci.context import Context
from rayci.criteria.cost import AverageBits, NominalBits
from rayci.errors import InterventionError, RequestError
from rayci.interventions.compression.any_grid import AnyGrid
from rayci.interventions.compression.columns import sweep
from rayci.interventions.compression.gptq import GPTQ, Rounding
from rayci.interventions.compression.grid import Grid
from rayci.interventions.compression.hessian import inverse_factor, objective
from rayci.interventions.compression.number_formats import FORMATS
from rayci.interventions.compression.wanda import Wanda
from rayci.model import modules
from rayci.planning import spec, yaml_source
from rayci.planning.composition import parse
from rayci.testbed import collection
from tests.interventions.surgery import correlated, damped, gram, operate, random
from tests.models import ARCHITECTURES, differing, tiny, weights

CONTEXT = Context(collection())
CALIBRATION: dict[str, Any] = {"sequences": 4, "length": 32}
METHODS = ("rtn", "gptq")


def made(method: str, strength: float | str | None, **settings: Any) -> AnyGrid:
    cls = registry.intervention(method)
    calibration = CALIBRATION if method == "gptq" else {}
    configured = cls.configure("published", strength, {**calibration, **settings})
    assert isinstance(configured, AnyGrid)
    return configured


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "bits", "group"), [("fp8", 8, -1), ("mxfp4", 4, 32), ("nvfp4", 4, 16), ("nf4", 4, 64)]
)
def test_the_name_says_bits_grid_and_group(method: str, name: str, bits: int, group: int) -> None:
    asked = made(method, name)
    assert (asked.bits, asked.grid, asked.group_size) == (bits, name, group)
    assert asked == made(method, None, grid=name) == made(method, bits, grid=name)
    assert asked.identity() == made(method, None, grid=name, group_size=group).identity()
    assert (asked.gamma, asked.asked_at) == (bits, name)
    assert type(asked).model_validate(json.loads(json.dumps(asked.effective()))) == asked


def test_without_a_format_it_is_what_it_was() -> None:
    asked = made("rtn", 4)
    assert (asked.grid, asked.group_size, asked.asked_at) == ("int", 128, 4.0)
    assert "grid" not in asked.effective()
    assert asked.identity() == made("rtn", 4, grid="int").identity()


@pytest.mark.parametrize(
    ("strength", "settings", "problem", "more"),
    [
        ("nvfp5", {}, "bits = 'nvfp5' is neither a number nor a format", "nvfp4"),
        ("int", {}, "bits = 'int' is neither", "2 to 8, fp8, mxfp4, nvfp4, nf4"),
        ("2:4", {}, "bits = '2:4' is neither", "2 to 8"),
        (8, {"grid": "nvfp4"}, "bits = 8, but grid = nvfp4 has 4", "leave bits out"),
        (None, {"grid": "fp8", "bits": 4}, "bits = 4, but grid = fp8 has 8", ""),
        ("nvfp4", {"group_size": 32}, "group_size is given twice, as @nvfp4 and as 32", "leave group_size out"),
        (None, {"grid": "nvfp4", "group_size": 32}, "group_size = 32, but grid = nvfp4 has 16", "leave group_size out"),
        ("nvfp4", {"grid": "fp8"}, "grid is given twice", ""),
        ("nf4", {"group_size": 0}, "group_size = 0", ""),
        (None, {"grid": "fp4"}, "grid = 'fp4'", "nvfp4"),
        (4, {"grid": ["nf4"]}, "grid = ['nf4']", "nvfp4"),
        (None, {}, "bits is missing", ""),
    ],
)
def test_what_contradicts_is_refused(
    strength: float | str | None, settings: dict[str, Any], problem: str, more: str
) -> None:
    with pytest.raises(RequestError, match="rtn") as error:
        made("rtn", strength, **settings)
    assert problem in str(error.value) and more in str(error.value)


@pytest.mark.parametrize("name", FORMATS)
def test_activation_order_needs_blocks_that_stay_where_a_format_has_them(name: str) -> None:
    made("gptq", name, act_order=True, **({} if name == "fp8" else {"static_groups": True}))
    if FORMATS[name].fixed:
        with pytest.raises(RequestError, match=f"act_order: blocks of {name} are runs of columns"):
            made("gptq", name, act_order=True)
    else:
        made("gptq", name, act_order=True)


@pytest.mark.parametrize("text", ["wanda@half", "wanda@nan", "wanda@infinity", "wanda@nf4", "awq@int", "ft@nf4"])
def test_a_word_that_a_method_does_not_know_is_refused(text: str) -> None:
    (step,) = parse(text).steps
    with pytest.raises(RequestError, match=f"{step.method}.*{step.strength}"):
        registry.intervention(step.method).configure("published", step.strength)


def test_awq_has_levels_of_its_own() -> None:
    with pytest.raises(RequestError, match="awq: bits = 'nvfp4' is not a number") as error:
        registry.intervention("awq").configure("published", "nvfp4")
    assert "rtn and gptq" in str(error.value)


def test_a_composition_and_a_spec_say_it_alike() -> None:
    (step,) = parse("gptq@nvfp4{act_order=true,static_groups=true}").steps
    assert (step.strength, str(step)) == ("nvfp4", "gptq@nvfp4{act_order=true,static_groups=true}")
    text = "name: x\nmodel: testbed\ninterventions: {rtn: {bits: {sweep: [4, 8, nvfp4, fp8]}}}\ncriteria: [sparsity]\n"
    read = spec.from_source(yaml_source.parse(text, "x.yaml"))
    steps = read.variants("rtn")
    assert [str(step) for step in steps] == ["rtn@4", "rtn@8", "rtn@nvfp4", "rtn@fp8"]
    assert [getattr(read.configure(step), "grid", None) for step in steps] == ["int", "int", "nvfp4", "fp8"]
    with pytest.raises(RequestError, match="'nfv4' is neither a number nor a format") as error:
        spec.from_source(yaml_source.parse(text.replace("nvfp4", "nfv4"), "x.yaml"))
    assert "nf4" in str(error.value) and "x.yaml:3" in str(error.value)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", FORMATS)
def test_a_model_on_the_grid(method: str, name: str) -> None:
    """Every linear is on its grid and stays; bits, kept bytes and the chain say what is stored."""
    subject = tiny(hidden_size=64)
    before = weights(subject)
    asked = made(method, name, **({"group_size": 16} if name == "nf4" else {}))
    receipt = subject.apply(asked, CONTEXT)
    assert differing(subject, before) == set(receipt.changed) == {f"{name}.weight" for name, _ in subject.linears()}
    for linear, module in subject.linears():
        weight = modules.weight(module)
        grid = asked.grid_in(receipt.kept, linear, weight.device)
        assert grid.levels is FORMATS[name] and grid.values(grid.codes(weight)).equal(weight)
    assert sum(value.nbytes for value in receipt.kept.values()) == asked.kept_bytes(subject)
    bits, claimed = (criterion.measure(subject, CONTEXT).value for criterion in (AverageBits(), NominalBits()))
    assert bits == pytest.approx(claimed)
    once = weights(subject)
    subject.apply(asked, CONTEXT, "reproject")
    assert differing(subject, once) == set()
    assert list(map(str, subject.applied)) == [f"{method}@{name}", f"reproject({method}@{name})"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mxfp4", 4 + 8 / 32), ("nvfp4", 4 + 8 / 16 + 32 / 4096), ("nf4", 4 + 32 / 64), ("fp8", 8 + 32 / 64)],
)
def test_bits_count_scales(name: str, expected: float) -> None:
    """On linears of 64 × 64; nominal bits leave out what depends on the shape."""
    subject = tiny(hidden_size=64, intermediate_size=64, num_attention_heads=4, num_key_value_heads=4)
    asked = made("rtn", name)
    subject.apply(asked, CONTEXT)
    assert AverageBits().measure(subject, CONTEXT).value == pytest.approx(expected)
    assert NominalBits().measure(subject, CONTEXT).value == pytest.approx(expected)
    assert asked.nominal_bits() == {"mxfp4": 4.25, "nvfp4": 4.5, "nf4": 4.5, "fp8": 8.0}[name]


@pytest.mark.parametrize("name", FORMATS)
def test_an_edit_is_seen_group_by_group_and_undone(name: str) -> None:
    subject = tiny()
    asked = made("gptq", name, **({"group_size": 16} if name == "nf4" else {}))
    receipt = subject.apply(asked, CONTEXT)
    linear, module = next(subject.linears())
    weight = modules.weight(module)
    once, group = weight.clone(), 16 if name in ("nvfp4", "nf4") else 32
    column = int(weight[2].abs().argmax())  # not one that is 0
    with torch.no_grad():
        weight[2, column] *= 1.01
    dense = asked.measured_bits(linear, weight, receipt) == 16
    assert dense.sum() == group and bool(dense[2, column])
    subject.apply(asked, CONTEXT, "reproject")
    assert weight.equal(once)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("method", METHODS)
def test_zeros_of_a_pruner_stay_zero(method: str, name: str) -> None:
    subject = tiny()
    subject.apply(Wanda(sparsity=0.5, sequences=2, length=16), CONTEXT)
    gone = {linear: modules.weight(module) == 0 for linear, module in subject.linears()}
    subject.apply(made(method, name, **({"group_size": 16} if name == "nf4" else {})), CONTEXT)
    for linear, module in subject.linears():
        assert not modules.weight(module)[gone[linear]].any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", FORMATS)
def test_weights_that_are_not_finite_fail_the_stage(method: str, name: str) -> None:
    subject = tiny()
    linears = dict(subject.linears())
    last = list(linears)[-1]  # whose values no later Hessian is made of
    with torch.no_grad():
        modules.weight(linears[last])[1, 2] = float("inf")
    with pytest.raises(InterventionError, match=f"{method}: the weights of {last} are not finite"):
        subject.apply(made(method, name, **({"group_size": 16} if name == "nf4" else {})), CONTEXT)


def test_columns_that_blocks_do_not_fill_are_refused() -> None:
    subject = tiny(intermediate_size=48)
    before = weights(subject)
    with pytest.raises(RequestError, match=r"group_size 32 does not divide the 48 columns of .*down_proj"):
        subject.apply(made("rtn", "mxfp4"), CONTEXT)
    assert differing(subject, before) == set()


def test_matrices_with_one_input_have_their_own_tensor_scale() -> None:
    """GPTQ solves q, k and v as one matrix."""
    subject = tiny()
    linears = dict(subject.linears())
    expected = {linear: 448 * 6 / modules.weight(module).abs().max().item() for linear, module in linears.items()}
    receipt = subject.apply(made("gptq", "nvfp4"), CONTEXT)
    first = [linear for linear in linears if linear.startswith("model.layers.0.self_attn")][:3]  # of dense weights
    found = {linear: receipt.kept[f"{linear}.tensor_scale"].item() for linear in first}
    assert found == pytest.approx({linear: expected[linear] for linear in first})
    assert len(set(found.values())) == 3


@pytest.mark.parametrize(("kind", "name"), [*zip(ARCHITECTURES, [*FORMATS] * 2, strict=True), ("mixtral", "nvfp4")])
def test_it_runs_on_every_architecture(kind: str, name: str) -> None:
    subject = tiny(kind)
    before = weights(subject)
    receipt = subject.apply(made("gptq", name, **({"group_size": 16} if name == "nf4" else {})), CONTEXT)
    assert differing(subject, before) == set(receipt.changed) == set(subject.weight_names())


def nearest(weight: Tensor, name: str, group: int) -> Tensor:
    return FORMATS[name].lay(weight, group).round(weight)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("static", [False, True], ids=["read on the way", "static"])
def test_as_slow_surgery_and_better_than_nearest(name: str, static: bool) -> None:
    """Against explicit inverses in float64, which read each group's scale where its first column begins."""
    made_of, columns, block = FORMATS[name], 64, 16
    group = {"fp8": 64, "nf4": 16}.get(name, made_of.block)
    weight, hessian = random(24, columns, 0), gram(correlated(columns, 0))
    shared, grids = made_of.tensor_scale(weight), dict[int, Grid]()
    at_block, tied = weight, torch.zeros(24, dtype=torch.bool)

    def choose(column: int, now: Tensor, corners: Tensor) -> Tensor:
        nonlocal at_block, tied
        at_block = now.clone() if column % block == 0 else at_block
        if column % group == 0:
            source = weight if static else at_block
            grids[column // group] = made_of.lay(source[:, column : column + group].float(), group, shared)
        own = grids[column // group]
        beside = [own.round(now[:, column : column + 1] * (1 + side)) for side in (-1e-4, 1e-4)]
        tied = tied | (beside[0] != beside[1])[:, 0]
        return own.round(now[:, column : column + 1])[:, 0].double()

    slow = operate(weight, damped(hessian, 0.01), choose)
    factor = inverse_factor(hessian, 0.01)
    assert factor is not None
    laid = made_of.lay(weight, group, shared) if static else None
    rule = Rounding(made_of, group, lambda part: made_of.lay(part, group, shared), laid=laid)
    fast = sweep(weight, factor, block, rule)
    assert tied.sum() <= 8
    assert torch.isclose(fast.double(), slow, rtol=1e-3, atol=1e-4)[~tied].all()
    assert objective(fast - weight, hessian) < 0.9 * objective(nearest(weight, name, group) - weight, hessian)


@pytest.mark.parametrize("name", FORMATS)
def test_activation_order_ends_on_the_grid_in_the_columns_own_order(name: str) -> None:
    subject = tiny()
    static = FORMATS[name].fixed
    group = {"group_size": 16} if name == "nf4" else {}
    asked = GPTQ.configure(
        "published", name, {**CALIBRATION, **group, "act_order": True, **({"static_groups": True} if static else {})}
    )
    receipt = subject.apply(asked, CONTEXT)
    for linear, module in subject.linears():
        weight = modules.weight(module)
        assert asked.measured_bits(linear, weight, receipt).unique().tolist() == [asked.bits_of(*weight.shape)]
        assert (f"{linear}.index" in receipt.kept) == (name == "nf4")
