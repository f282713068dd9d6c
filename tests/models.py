"""Tiny random models of every supported architecture, and fresh copies of the testbed.

All speak the testbed's tokenizer; weights are seeded, so that a failing test fails again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from rayci.model import loading
from rayci.subject import Subject
from rayci.testbed import checkpoint
from rayci.testbed.tokenizer import VOCABULARY, build_tokenizer

torch.set_num_threads(1)  # sums in one order on every machine

HIDDEN, INNER, HEADS, LAYERS, POSITIONS = 32, 64, 4, 3, 96
_IDS: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
_LLAMA_LIKE: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": POSITIONS,
}
_NEOX: dict[str, Any] = {key: value for key, value in _LLAMA_LIKE.items() if key != "num_key_value_heads"}
_OPT: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "word_embed_proj_dim": HIDDEN,
    "ffn_dim": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": POSITIONS,
}
_GPT2: dict[str, Any] = {"n_embd": HIDDEN, "n_layer": LAYERS, "n_head": HEADS, "n_positions": POSITIONS}

EXPERTS, CHOSEN, EXPERT_INNER, SHARED_INNER = 5, 2, 16, 24
_ROUTED: dict[str, Any] = {**_LLAMA_LIKE, "num_experts": EXPERTS, "num_experts_per_tok": CHOSEN}
_QWEN_MOE: dict[str, Any] = {**_ROUTED, "moe_intermediate_size": EXPERT_INNER}

_BUILDERS: Mapping[str, tuple[type[Any], Callable[[Any], PreTrainedModel], dict[str, Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, _LLAMA_LIKE),
    "mistral": (MistralConfig, MistralForCausalLM, {**_LLAMA_LIKE, "sliding_window": 8}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, _LLAMA_LIKE),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {**_LLAMA_LIKE, "head_dim": 8}),
    "phi3": (Phi3Config, Phi3ForCausalLM, _LLAMA_LIKE),
    "gpt_neox": (GPTNeoXConfig, GPTNeoXForCausalLM, _NEOX),
    "opt": (OPTConfig, OPTForCausalLM, _OPT),
    "gpt2": (GPT2Config, GPT2LMHeadModel, _GPT2),
}
ARCHITECTURES = tuple(_BUILDERS)
_MIXTURES: Mapping[str, tuple[type[Any], Callable[[Any], PreTrainedModel], dict[str, Any]]] = {
    "mixtral": (
        MixtralConfig,
        MixtralForCausalLM,
        {**_LLAMA_LIKE, "num_local_experts": EXPERTS, "num_experts_per_tok": CHOSEN, "intermediate_size": EXPERT_INNER},
    ),
    "qwen2_moe": (Qwen2MoeConfig, Qwen2MoeForCausalLM, {**_QWEN_MOE, "shared_expert_intermediate_size": SHARED_INNER}),
    "qwen3_moe": (Qwen3MoeConfig, Qwen3MoeForCausalLM, {**_QWEN_MOE, "head_dim": 8, "mlp_only_layers": [1]}),
    "olmoe": (OlmoeConfig, OlmoeForCausalLM, {**_ROUTED, "intermediate_size": EXPERT_INNER}),
}
MIXTURES = tuple(_MIXTURES)
"""Mixtures of experts; block 1 of `qwen3_moe` is dense."""


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    """The testbed's tokenizer, padding on the left as subjects do."""
    return build_tokenizer()


def random_model(kind: str, *, tied: bool = False, **settings: Any) -> PreTrainedModel:
    """A random model in eval mode, its weights large enough for activations to differ by channel."""
    config, build, sizes = {**_BUILDERS, **_MIXTURES}[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(config(**{**_IDS, **sizes, "tie_word_embeddings": tied, **settings}))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    model.eval()
    return model


def tiny(kind: str = "llama", *, tied: bool = False, **settings: Any) -> Subject:
    """A subject around a tiny random model of an architecture."""
    return loading.wrap(random_model(kind, tied=tied, **settings), tokenizer())


@cache
def _loaded() -> Subject:
    return loading.load(checkpoint())


def testbed() -> Subject:
    """A fresh subject of the testbed's checkpoint."""
    return copy.deepcopy(_loaded())


testbed.__test__ = False  # type: ignore[attr-defined]


def weights(subject: Subject) -> dict[str, Tensor]:
    """Copies of all parameters by name."""
    return {name: value.detach().clone() for name, value in subject.model.named_parameters()}


def differing(subject: Subject, before: Mapping[str, Tensor]) -> set[str]:
    """Names of the parameters that are no longer bit for bit as in `before`."""
    now = weights(subject)
    return {name for name in before if not now[name].view(torch.int32).equal(before[name].view(torch.int32))}
