"""Every method on every supported architecture, and what happens on one that is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BloomConfig, BloomForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from rayci import registry
from rayci.context import Context
from rayci.errors import RequestError
from rayci.interventions.compression.wanda import Wanda
from rayci.model import loading, modules
from rayci.subject import Subject
from rayci.testbed import collection
from rayci.testbed.tokenizer import VOCABULARY
from tests.models import ARCHITECTURES, HIDDEN, LAYERS, differing, tiny, tokenizer, weights

CONTEXT = Context(collection(), batch_size=6)
METHODS: dict[str, tuple[float | str | None, dict[str, Any]]] = {
    "wanda": (0.5, {"sequences": 4, "length": 32}),
    "rtn": (4, {"group_size": 16}),
    "hqq": (4, {"group_size": 16}),
    "ft": (None, {"layers": (0, LAYERS - 1), "lr": 1e-3, "steps": 3}),
    "gd": (None, {"last_layers": 2, "lr": 1e-3, "samples": 4, "max_tokens": 32}),
}
LINEARS = {"llama": 7, "mistral": 7, "qwen2": 7, "qwen3": 7, "phi3": 4, "gpt_neox": 4, "opt": 6, "gpt2": 4}


def apply(subject: Subject, method: str, **settings: Any) -> None:
    strength, preset = METHODS[method]
    subject.apply(registry.intervention(method).configure("published", strength, {**preset, **settings}), CONTEXT)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_method_runs_on_every_architecture(kind: str, method: str, tied: bool) -> None:
    subject = tiny(kind, tied=tied)
    head, embeddings = subject.model.get_output_embeddings(), subject.model.get_input_embeddings()
    assert (head.weight is embeddings.weight) == tied
    linears = [f"{name}.weight" for name, _ in subject.linears()]
    assert len(linears) == LINEARS[kind] * LAYERS
    before = weights(subject)
    apply(subject, method)
    changed = differing(subject, before)
    if method in ("wanda", "rtn", "hqq"):
        assert changed == set(linears)
    elif method == "ft":
        assert changed == {f"{subject.paths.blocks}.{i}.{subject.paths.mlp_out}.weight" for i in (0, LAYERS - 1)}
    else:
        last = tuple(f"{subject.paths.blocks}.{i}." for i in (LAYERS - 2, LAYERS - 1))
        assert changed
        assert all(name.startswith(last) for name in changed)
    assert (head.weight is embeddings.weight) == tied


def straightened(model: PreTrainedModel) -> PreTrainedModel:
    """The same GPT-2 with nn.Linear in place of Conv1D, whose weight is the transposed one."""
    twin = copy.deepcopy(model)
    for name, module in model.named_modules():
        if isinstance(module, Conv1D):
            inputs, outputs = module.weight.shape
            linear = nn.Linear(inputs, outputs)
            linear.weight.data = module.weight.data.T.clone()
            linear.bias.data = module.bias.data.clone()
            parent, _, last = name.rpartition(".")
            setattr(twin.get_submodule(parent), last, linear)
    return twin


@pytest.mark.parametrize("method", METHODS)
def test_conv1d_weights_are_read_as_out_by_in(method: str) -> None:
    conv = tiny("gpt2")
    linear = loading.wrap(straightened(conv.model), tokenizer())
    ids = CONTEXT.calibration(conv.tokenizer, 2, 16)
    with torch.no_grad():
        torch.testing.assert_close(conv.model(ids).logits, linear.model(ids).logits, rtol=1e-4, atol=1e-4)
    before = weights(linear)
    for subject in (conv, linear):
        apply(subject, method)
    for (name, left), (_, right) in zip(conv.linears(), linear.linears(), strict=True):
        a, b = modules.weight(left), modules.weight(right)
        assert isinstance(left, Conv1D)
        assert isinstance(right, nn.Linear)
        assert a.shape == b.shape == (right.out_features, right.in_features)
        close = torch.isclose(a, b, rtol=1e-4, atol=2e-5)  # Adam may turn a gradient near 0 either way
        assert close.float().mean() > 0.995, name
    changed = [name for name, module in linear.linears() if not module.weight.equal(before[f"{name}.weight"])]
    assert changed


def test_patterns_of_conv1d_run_along_its_inputs() -> None:
    subject = tiny("gpt2")
    receipt = subject.apply(Wanda.configure(strength="2:4", settings=METHODS["wanda"][1]), CONTEXT)
    for name, module in subject.linears():
        stored = module.weight.detach()  # [in, out]
        assert set((stored == 0).view(-1, 4, stored.shape[1]).sum(1).flatten().tolist()) == {2}
        assert f"{name}.weight" in receipt.changed
        with torch.no_grad():
            module.weight.add_(0.5)
    subject.apply(subject.applied[0].intervention, CONTEXT, "reproject")
    assert all(float((module.weight == 0).float().mean()) == 0.5 for _, module in subject.linears())


def bloom() -> BloomForCausalLM:
    sizes: dict[str, Any] = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "n_layer": 2, "n_head": 4}
    return BloomForCausalLM(BloomConfig(**sizes, bos_token_id=0, eos_token_id=0, pad_token_id=1))


BLOOM_MAP: dict[str, Any] = {
    "blocks": "transformer.h",
    "attention_in": ["self_attention.query_key_value"],
    "attention_out": "self_attention.dense",
    "mlp_in": ["mlp.dense_h_to_4h"],
    "mlp_out": "mlp.dense_4h_to_h",
}


def test_an_unknown_architecture_is_one_clear_error() -> None:
    with pytest.raises(RequestError, match="architecture 'bloom' has no module map") as error:
        loading.wrap(bloom(), tokenizer())
    assert "llama" in str(error.value.allowed)
    assert "attention_in" in str(error.value.hint)
    assert len(str(error.value).splitlines()) <= 4


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_architecture_works_with_its_map(method: str) -> None:
    subject = loading.wrap(bloom(), tokenizer(), BLOOM_MAP)
    before = weights(subject)
    apply(subject, method, **({"layers": (0, 1)} if method == "ft" else {}))
    assert differing(subject, before)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"blocks": "model.layers"}, "does not fit BloomForCausalLM"),
        ({"mlp_out": "mlp.nothing"}, "does not fit BloomForCausalLM"),
        ({"mlp_out": "mlp"}, "BloomMLP"),
        ({"mlp_outt": "mlp.dense_4h_to_h"}, "unknown key 'mlp_outt'"),
        ({"blocks": "transformer"}, "transformer is no list of blocks"),
        ({"blocks": 5}, "blocks in the module map is 5"),
        ({"mlp_in": "mlp.dense_h_to_4h"}, "mlp_in in the module map is 'mlp.dense_h_to_4h'"),
        ({"attention_in": []}, "lacks attention_in"),
        ({"attention_in": [5]}, r"attention_in in the module map is \[5\]"),
        ({"mlp_in": ["mlp.dense_4h_to_h"]}, "mlp.dense_4h_to_h stands in two places"),
        ({"mlp_norm": "mlp"}, "mlp is no norm"),
    ],
)
def test_a_map_that_does_not_fit_is_one_clear_error(change: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError, match=text):
        loading.wrap(bloom(), tokenizer(), {**BLOOM_MAP, **change})


def test_a_map_that_lacks_a_key_names_it() -> None:
    with pytest.raises(RequestError, match="lacks mlp_out"):
        loading.wrap(bloom(), tokenizer(), {key: value for key, value in BLOOM_MAP.items() if key != "mlp_out"})
