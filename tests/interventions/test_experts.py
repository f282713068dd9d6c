"""Mixtures of experts: each routed expert is a linear of its own, or the method says that it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rayci import registry
from rayci.context import Context
from rayci.criteria.cost import AverageBits, Sparsity
from rayci.errors import RequestError
from rayci.interventions.compression.gptq import GPTQ
from rayci.interventions.compression.grid import including_zero
from rayci.interventions.compression.hessian import objective
from rayci.interventions.compression.wanda import Wanda
from rayci.model import loading, modules
from rayci.model.experts import Expert
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.subject import Subject
from rayci.testbed import collection
from tests.interventions.small import MERGERS
from tests.models import CHOSEN, EXPERTS, LAYERS, MIXTURES, differing, tiny, tokenizer, weights

CONTEXT = Context(collection(), batch_size=4)
CALIBRATION: dict[str, Any] = {"sequences": 8, "length": 48, "forward_batch": 4}
GROUPS: dict[str, Any] = {"group_size": 8}
TEXT: dict[str, Any] = {"samples": 4, "batch": 2, "epochs": 1, "lr": 1e-3, "last_layers": 2, "max_tokens": 24}
LORA: dict[str, Any] = {"target_r": 2, "init_r": 2, "steps": 3, "lr": 1e-2}
RUN: dict[str, tuple[float | None, dict[str, Any]]] = {
    "rtn": (4, GROUPS),
    "magnitude": (0.5, {}),
    "wanda": (0.5, CALIBRATION),
    "sparsegpt": (0.5, CALIBRATION),
    "gptq": (4, {**CALIBRATION, **GROUPS}),
    "hqq": (4, GROUPS),
    "layerdrop": (1, CALIBRATION),
    "lora": (None, LORA),
    **dict.fromkeys(("finetune", "relearn"), (None, TEXT)),
    **dict.fromkeys(
        ("ga", "gd", "ga_klr", "npo", "npo_gdr", "npo_klr", "simnpo", "wga", "satimp", "task_vector"), (None, TEXT)
    ),
    "undial": (None, {**TEXT, "parametrisation": "full"}),
    "refusal": (None, {key: value for key, value in TEXT.items() if key != "max_tokens"}),
}
REFUSE: dict[str, tuple[float | None, dict[str, Any]]] = {
    "awq": (4, {**CALIBRATION, **GROUPS}),
    **dict.fromkeys(("memit", "alphaedit", "emmet", "rome"), (None, {"layers": (0,)})),
    "ft": (None, {"layers": (0,)}),
    "rmu": (None, {"layer": 2}),
    "rmu_lat": (None, {"layer": 2, "latent_layers": (0,)}),
    "sure": (None, {}),
}
COMPRESSORS = ("rtn", "magnitude", "wanda", "sparsegpt", "gptq", "hqq", "layerdrop")
WHOLE = ("layerdrop",)
"""Those that take some blocks whole and leave the others alone."""
LINEARS = {
    "mixtral": LAYERS * (4 + 2 * EXPERTS),
    "qwen2_moe": LAYERS * (7 + 2 * EXPERTS),
    "qwen3_moe": 7 + (LAYERS - 1) * (4 + 2 * EXPERTS),  # block 1 is dense
    "olmoe": LAYERS * (4 + 2 * EXPERTS),
}


def configured(method: str) -> Any:
    strength, settings = {**RUN, **REFUSE}[method]
    return registry.intervention(method).configure("published", strength, settings)


def experts(subject: Subject) -> dict[str, Expert]:
    return {name: module for name, module in subject.linears() if isinstance(module, Expert)}


def test_every_method_is_listed() -> None:
    assert {*RUN, *REFUSE, *MERGERS} == set(registry.interventions())  # mergers: with files of the mixture itself


@pytest.mark.parametrize("kind", MIXTURES)
def test_every_expert_is_a_linear_and_routers_are_none(kind: str) -> None:
    subject = tiny(kind)
    linears = dict(subject.linears())
    assert len(linears) == LINEARS[kind]
    assert not any("gate." in name or name.endswith("gate") for name in linears)
    for name, module in experts(subject).items():
        stacked = subject.model.get_parameter(modules.parameter_name(name, module))
        view = modules.weight(module)
        assert view.equal(stacked[int(name.split(".")[-2])])
        view.fill_(7.0)
        assert bool((stacked[int(name.split(".")[-2])] == 7).all())


@pytest.mark.parametrize("kind", MIXTURES)
@pytest.mark.parametrize("method", RUN)
def test_methods_that_can_do_it_run(method: str, kind: str) -> None:
    subject = tiny(kind)
    before = weights(subject)
    receipt = subject.apply(configured(method), CONTEXT)
    changed = differing(subject, before)
    assert changed
    assert changed <= set(receipt.changed)
    assert len(receipt.changed) == len(set(receipt.changed))
    assert all(bool(torch.isfinite(value).all()) for value in subject.model.parameters())
    if method in COMPRESSORS and method not in WHOLE:
        assert changed == set(subject.weight_names()) == set(receipt.changed)
        assert receipt.counts["linears"] == LINEARS[kind]
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in subject.model.modules())


@pytest.mark.parametrize("kind", MIXTURES)
@pytest.mark.parametrize("method", REFUSE)
def test_the_others_say_so_before_anything_starts(method: str, kind: str) -> None:
    subject = tiny(kind)
    before = weights(subject)
    runs: list[Any] = []
    subject.model.register_forward_pre_hook(lambda *_: runs.append(None))
    with pytest.raises(RequestError, match=f"{method} does not work on {kind}, a mixture of experts: ") as error:
        subject.apply(configured(method), CONTEXT)
    assert f"leave {method} out" in str(error.value.hint)
    assert not runs
    assert not differing(subject, before)
    assert not subject.applied


@pytest.mark.parametrize("method", ["memit", "sure"])
def test_a_sweep_is_refused_before_it_starts(tmp_path: Path, method: str) -> None:
    folder = _saved(tmp_path)
    asked: dict[str, Any] = {"name": "mixture", "model": str(folder), "data": "testbed", "criteria": ["sparsity"]}
    with pytest.raises(RequestError, match=f"{method} does not work on mixtral") as error:
        Sweep.open(Spec.model_validate({**asked, "interventions": {"wanda": {"sparsity": 0.5}, method: {}}}))
    assert error.value.at == f"interventions.{method}"
    Sweep.open(Spec.model_validate({**asked, "interventions": {"wanda": {"sparsity": 0.5}, "ga": {"last_layers": 1}}}))


def test_a_stored_mixture_comes_back_with_equal_experts(tmp_path: Path) -> None:
    subject, again = tiny("mixtral"), loading.load(_saved(tmp_path))
    assert not differing(again, weights(subject))
    assert experts(again).keys() == experts(subject).keys()


def _saved(folder: Path) -> Path:
    tiny("mixtral").model.save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    return folder / "model"


def routed(subject: Subject, index: int, tokens: Tensor) -> dict[str, Tensor]:
    """Each expert's inputs in one block, routing computed by hand; expert linear -> `[tokens, in]`."""
    model, block = subject.model, subject.blocks[index]
    hidden = model(input_ids=tokens, output_hidden_states=True, use_cache=False).hidden_states[index]
    attention: Any = block.self_attn
    positions = torch.arange(tokens.shape[1])[None]
    rotary = model.get_submodule("model.rotary_emb")(hidden, positions)
    norms = [block.get_submodule(name) for name in ("input_layernorm", "post_attention_layernorm")]
    between = hidden + attention(norms[0](hidden), position_embeddings=rotary, attention_mask=None)[0]
    states = norms[1](between).flatten(0, 1)
    mixture: Any = block.mlp
    chosen = (states @ mixture.gate.weight.T).softmax(-1).topk(CHOSEN).indices
    found = {}
    for expert in range(EXPERTS):
        mine = torch.stack([row for row, picked in zip(states, chosen.tolist(), strict=True) if expert in picked])
        gate, up = mixture.experts.gate_up_proj[expert].chunk(2)
        root = f"{subject.paths.blocks}.{index}.mlp.experts.{expert}"
        found[f"{root}.gate_up_proj"] = mine
        found[f"{root}.down_proj"] = F.silu(mine @ gate.T) * (mine @ up.T)
    return found


@pytest.mark.parametrize("kind", MIXTURES)
@torch.no_grad()
def test_masks_are_those_of_each_experts_own_tokens(kind: str) -> None:
    walked, expected = tiny(kind), tiny(kind)
    receipt = walked.apply(configured("wanda"), CONTEXT)
    assert not receipt.retries
    tokens = CONTEXT.calibration(expected.tokenizer, CALIBRATION["sequences"], CALIBRATION["length"])
    everything, now = dict(expected.linears()), dict(walked.linears())
    for index in range(LAYERS):
        if hasattr(expected.blocks[index].mlp, "experts"):
            for name, inputs in routed(expected, index, tokens).items():
                weight = modules.weight(everything[name])
                score = weight.abs() * inputs.square().sum(0).sqrt()
                mask = torch.zeros_like(weight, dtype=torch.bool)
                for row, gone in enumerate(score.argsort(dim=1, stable=True)[:, : weight.shape[1] // 2]):
                    mask[row, gone] = True
                assert mask.equal(modules.weight(now[name]) == 0), name
        _copy(walked.blocks[index], expected.blocks[index])  # the next block sees the pruned ones


def _copy(source: nn.Module, target: nn.Module) -> None:
    target.load_state_dict(source.state_dict())


@pytest.mark.parametrize("kind", MIXTURES)
def test_sparsity_is_exact_in_every_row_of_every_expert(kind: str) -> None:
    subject = tiny(kind)
    receipt = subject.apply(configured("wanda"), CONTEXT)
    assert set(receipt.kept) == {name for name, _ in subject.linears()}
    for _, module in subject.linears():
        weight = modules.weight(module)
        assert set((weight == 0).sum(1).tolist()) == {weight.shape[1] // 2}
    assert Sparsity().measure(subject, CONTEXT).value == 0.5
    assert AverageBits().measure(subject, CONTEXT).value == pytest.approx(0.5 * 1 + 0.5 * 16)


@torch.no_grad()
@pytest.mark.parametrize("kind", MIXTURES)
def test_gptq_is_never_worse_than_rounding_on_an_experts_own_objective(kind: str) -> None:
    subject = tiny(kind)
    before = {name: modules.weight(module).clone() for name, module in experts(subject).items()}
    tokens = CONTEXT.calibration(subject.tokenizer, CALIBRATION["sequences"], CALIBRATION["length"])
    hessians = {name: x.T @ x for name, x in routed(subject, 0, tokens).items()}
    subject.apply(GPTQ(bits=3, group_size=-1, **CALIBRATION), CONTEXT)
    now = experts(subject)
    for name, hessian in hessians.items():
        rounded = including_zero(before[name], 3, before[name].shape[1], symmetric=True).round(before[name])
        ours = objective(modules.weight(now[name]) - before[name], hessian)
        assert ours <= objective(rounded - before[name], hessian), name


@pytest.mark.parametrize("method", COMPRESSORS)
@torch.no_grad()
def test_reproject_puts_every_expert_back(method: str) -> None:
    subject = tiny("qwen3_moe")
    made = configured(method)
    changed = set(subject.apply(made, CONTEXT).changed)
    after, bits = weights(subject), AverageBits().measure(subject, CONTEXT).value
    for _, module in subject.linears():
        weight = modules.weight(module)
        weight.add_(torch.where(weight == 0, 1e-3, 0.0) if made.prunes else 1e-4)
    assert AverageBits().measure(subject, CONTEXT).value > bits
    receipt = subject.apply(made, CONTEXT, "reproject")
    assert set(receipt.changed) == changed
    assert AverageBits().measure(subject, CONTEXT).value == bits
    if made.prunes:
        assert not differing(subject, after)


def unreached() -> Subject:
    """A mixture whose last expert no token reaches: its logit 0 stands between the pairs a, a and −a, −a."""
    subject = tiny("mixtral")
    for block in subject.blocks:
        router = block.get_submodule("mlp.gate").get_parameter("weight").data
        router[1], router[2], router[3], router[4] = router[0], -router[0], -router[0], 0
    return subject


def test_an_expert_without_tokens_is_compressed_as_with_white_inputs() -> None:
    last = EXPERTS - 1
    for method in ("wanda", "sparsegpt", "gptq"):
        subject = unreached()
        before = {name: modules.weight(module).clone() for name, module in experts(subject).items()}
        made = Wanda(sparsity=0.5, **CALIBRATION) if method == "wanda" else configured(method)
        receipt = subject.apply(made, CONTEXT)
        missed = [name for name in before if name.split(".")[-2] == str(last)]
        assert len(missed) == 2 * LAYERS
        assert receipt.retries == tuple(
            f"{method}: no calibration token reaches {name}, white inputs were assumed" for name in missed
        )
        for name in missed:
            weight, dense = modules.weight(experts(subject)[name]), before[name]
            if method == "gptq":  # nothing is passed on between channels that are not correlated
                grid = including_zero(dense, 4, 8, symmetric=True)
                torch.testing.assert_close(weight, grid.round(dense))
            elif method == "wanda":  # equal norms leave the magnitude
                threshold = dense.abs().sort(dim=1).values[:, dense.shape[1] // 2 - 1 : dense.shape[1] // 2]
                assert (weight == 0).equal(dense.abs() <= threshold)
            else:
                kept = weight != 0
                assert weight[kept].equal(dense[kept])
                assert dense[~kept].abs().max() <= dense[kept].abs().min()


def test_biased_or_transposed_experts_are_no_linears_that_a_map_could_name() -> None:
    subject = tiny("mixtral")
    subject.blocks[0].get_submodule("mlp.experts").is_transposed = True  # type: ignore[assignment]
    with pytest.raises(RequestError, match="does not fit MixtralForCausalLM"):
        loading.wrap(subject.model, tokenizer())
