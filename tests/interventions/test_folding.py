"""Folding scales leaves the function unchanged, and refuses where it would not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rayci.context import Context
from rayci.errors import RequestError
from rayci.interventions.compression.awq import AWQ
from rayci.interventions.compression.folding import fold, folds
from rayci.model import loading, modules
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import ARCHITECTURES, differing, random_model, tiny, tokenizer, weights

CONTEXT = Context(collection())
SMALL: dict[str, Any] = {"sequences": 4, "length": 32, "group_size": 16}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_folding_leaves_the_function_unchanged(kind: str) -> None:
    subject = tiny(kind)
    ids = CONTEXT.calibration(subject.tokenizer, 2, 24)
    with torch.no_grad():
        before = subject.model(ids).logits
    moved = weights(subject)
    for block in subject.blocks:
        for given in folds(subject, block):
            width = modules.weight(modules.linear(block, given.linears[0])).shape[1]
            fold(block, given, torch.rand(width, generator=torch.Generator().manual_seed(0)) * 3 + 0.2)
    assert differing(subject, moved)
    with torch.no_grad():
        torch.testing.assert_close(subject.model(ids).logits, before, rtol=1e-3, atol=1e-3)


def remapped(kind: str, **settings: Any) -> Subject:
    """A subject whose module map says other norms."""
    subject = tiny(kind)
    fields = {name: getattr(subject.paths, name) for name in type(subject.paths).__dataclass_fields__}
    return loading.wrap(random_model(kind), tokenizer(), {**fields, **settings})


def test_a_map_without_norms_is_one_clear_error() -> None:
    with pytest.raises(RequestError, match="the module map names none") as error:
        remapped("llama", mlp_norm="").apply(AWQ(bits=4, **SMALL), CONTEXT)
    assert "mlp_norm" in str(error.value.hint)


@pytest.mark.parametrize(
    ("kind", "settings", "text"),
    [
        ("llama", {"attention_norm": "post_attention_layernorm"}, "q_proj cannot be folded into post_attention"),
        ("llama", {"mlp_norm": "input_layernorm"}, "gate_proj cannot be folded into input_layernorm"),
        ("opt", {"mlp_norm": "self_attn_layer_norm"}, "fc1 cannot be folded into self_attn_layer_norm"),
    ],
)
def test_a_norm_that_does_not_fit_is_refused_before_any_weight_changes(
    kind: str, settings: dict[str, str], text: str
) -> None:
    subject = remapped(kind, **settings)
    before = weights(subject)
    with pytest.raises(RequestError, match=text):
        subject.apply(AWQ(bits=4, **SMALL), CONTEXT)
    assert differing(subject, before) == set()


def test_norms_after_the_residual_are_refused() -> None:
    subject = tiny("opt", do_layer_norm_before=False)
    with pytest.raises(RequestError, match="q_proj cannot be folded into self_attn_layer_norm"):
        subject.apply(AWQ(bits=4, **SMALL), CONTEXT)


def test_a_norm_that_does_not_exist_is_refused_with_the_map() -> None:
    with pytest.raises(RequestError, match="does not fit LlamaForCausalLM"):
        remapped("llama", mlp_norm="nothing")
