"""Where the decoders that rayci knows keep their blocks and linears: plain paths, which can be read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from rayci.errors import RequestError, nearest

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class ModuleMap:
    """Dotted paths of one architecture; those below `blocks` are relative to a block.

    Linears that read the same input stand in one group, in the order of the computation.
    """

    blocks: str
    attention_in: tuple[str, ...]
    """q, k and v (or the fused one)."""
    attention_out: str
    mlp_in: tuple[str, ...]
    """gate and up, the fused one, or the first linear."""
    mlp_out: str
    """The projection that knowledge editing rewrites."""
    attention_norm: str = ""
    """The norm whose output `attention_in` reads; methods that fold scales into it need it."""
    mlp_norm: str = ""
    """The norm whose output `mlp_in` reads."""
    experts: str = ""
    """The module that holds the routed experts, which take the MLP's place in blocks that have it."""
    shared_in: tuple[str, ...] = ()
    """`mlp_in` of the expert beside them that sees every token, where there is one."""
    shared_out: str = ""
    """Its `mlp_out`."""

    def groups(self, block: nn.Module) -> tuple[tuple[str, ...], ...]:
        """Linears of a block, grouped by shared input, in the order of the computation.

        Blocks of one model may differ. Each routed expert has inputs of its own; routers are no linears.
        """
        from rayci.model.experts import expert_paths

        attention = (self.attention_in, (self.attention_out,))
        routed = expert_paths(block, self.experts) if self.experts else []
        if not routed:
            return (*attention, self.mlp_in, (self.mlp_out,))
        shared = (self.shared_in, (self.shared_out,)) if self.shared_in else ()
        return (*attention, *shared, *((path,) for both in routed for path in both))


_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_NORMS = ("input_layernorm", "post_attention_layernorm")
_LLAMA = ModuleMap("model.layers", _QKV, "self_attn.o_proj", ("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj", *_NORMS)
_MIXTURE = replace(_LLAMA, experts="mlp.experts")
_QWEN2_MIXTURE = replace(
    _MIXTURE,
    shared_in=("mlp.shared_expert.gate_proj", "mlp.shared_expert.up_proj"),
    shared_out="mlp.shared_expert.down_proj",
)
_PHI3 = ModuleMap(
    "model.layers", ("self_attn.qkv_proj",), "self_attn.o_proj", ("mlp.gate_up_proj",), "mlp.down_proj", *_NORMS
)
_NEOX = ModuleMap(
    "gpt_neox.layers",
    ("attention.query_key_value",),
    "attention.dense",
    ("mlp.dense_h_to_4h",),
    "mlp.dense_4h_to_h",
    *_NORMS,
)
_OPT = ModuleMap(
    "model.decoder.layers", _QKV, "self_attn.out_proj", ("fc1",), "fc2", "self_attn_layer_norm", "final_layer_norm"
)
_GPT2 = ModuleMap("transformer.h", ("attn.c_attn",), "attn.c_proj", ("mlp.c_fc",), "mlp.c_proj", "ln_1", "ln_2")

MODULE_MAPS: Mapping[str, ModuleMap] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "phi3": _PHI3,
    "gpt_neox": _NEOX,
    "opt": _OPT,
    "gpt2": _GPT2,
    "mixtral": _MIXTURE,
    "qwen2_moe": _QWEN2_MIXTURE,
    "qwen3_moe": _MIXTURE,
    "olmoe": _MIXTURE,
}
"""`config.model_type` -> map."""


def find_map(kind: str | None, own: Mapping[str, Any] | None = None) -> ModuleMap | None:
    """The map that a model of this `model_type` will have, None where there is none."""
    return _parse(own) if own is not None else MODULE_MAPS.get(kind or "")


_TUPLES = ("attention_in", "mlp_in", "shared_in")


def _parse(own: Mapping[str, Any]) -> ModuleMap:
    known = [field.name for field in fields(ModuleMap)]
    for key in own:
        if key not in known:
            raise RequestError(
                f"unknown key {key!r} in the module map", allowed=", ".join(known), hint=nearest(key, known)
            )
    missing = [field.name for field in fields(ModuleMap) if field.default is MISSING and not own.get(field.name)]
    if missing:
        raise RequestError(f"the module map lacks {', '.join(missing)}", allowed=", ".join(known))
    return ModuleMap(**{key: _paths(key, value) for key, value in own.items()})


def _paths(key: str, value: Any) -> Any:
    """The value of one key: a path, or a tuple of them."""
    several = key in _TUPLES
    paths = value if several else [value]
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str) for path in paths):
        allowed = f"a list of paths, {key}: [a.b, a.c]" if several else f"one path, {key}: a.b"
        raise RequestError(f"{key} in the module map is {value!r}", allowed=allowed)
    return tuple(paths) if several else value
