"""Where scales of a linear's inputs come from and go to: the previous norm or linear.

Scaling input channel j of a linear by s_j and what makes that channel by 1/s_j leaves the
function unchanged. The source of a block's groups:

- linears of the attention and the MLP that read the block: the norm before them, bias included;
- `attention_out`: the value projection, where it is a linear of the same shape (not under
  grouped-query attention, not where q, k and v are fused);
- `mlp_out`: the up projection, which enters as a factor (the second of two, or the second half
  of a fused one), or the first linear where ReLU alone is between. After any other activation
  (GPT-NeoX, GPT-2) there is no source, and the group keeps its scale.
"""

from __future__ import annotations

import copy
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rayci.errors import RequestError
from rayci.interventions.compression.walk import BlockInputs, walk
from rayci.model import modules
from rayci.subject import Subject

_FEW_TOKENS = 16
"""A text long enough to tell whether folding keeps a block's function."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Linears with one input whose scales can be folded; paths are relative to the block."""

    linears: tuple[str, ...]
    source: str
    """The norm or linear that makes their input."""
    inspected: str
    """The module whose output tells the loss: the attention or MLP, or the linear itself."""


def folds(subject: Subject, block: nn.Module) -> list[Fold]:
    """The groups of a block that can be scaled, in the order of the computation."""
    paths = subject.paths
    if not (paths.attention_norm and paths.mlp_norm):
        raise RequestError(
            "awq folds scales into the norms before attention and MLP, the module map names none",
            hint="give `attention_norm` and `mlp_norm` under `modules:` in the spec",
        )
    places = [Fold(paths.attention_in, paths.attention_norm, _parent(paths.attention_in))]
    if len(paths.attention_in) > 1:
        value = paths.attention_in[-1]
        if _shape(block, value) == _shape(block, paths.attention_out):
            places.append(Fold((paths.attention_out,), value, paths.attention_out))
    places.append(Fold(paths.mlp_in, paths.mlp_norm, _parent(paths.mlp_in)))
    up, inner = paths.mlp_in[-1], _shape(block, paths.mlp_out)[1]
    made = _shape(block, up)[0]
    gated = len(paths.mlp_in) > 1 or made == 2 * inner
    if gated or (made == inner and modules.rectifies(subject.model)):
        places.append(Fold((paths.mlp_out,), up, paths.mlp_out))
    return places


@torch.no_grad()
def fold(block: nn.Module, place: Fold, scales: Tensor) -> None:
    """Multiply the linears' input channels by `scales [in]`, divide their source by them."""
    source = block.get_submodule(place.source)
    bias: Tensor | None = getattr(source, "bias", None)
    if modules.is_linear(source):
        # A fused source makes other things too; what is scaled is its last part.
        rows = modules.weight(source)[-len(scales) :]
        rows.copy_(rows.float() / scales.unsqueeze(1))
    else:
        weight = source.get_parameter("weight").data
        weight.copy_(weight.float() / scales)
    if bias is not None:
        part = bias.data[-len(scales) :]
        part.copy_(part.float() / scales)
    for path in place.linears:
        weight = modules.weight(modules.linear(block, path))
        weight.copy_(weight.float() * scales)


def folded(prefix: str, block: nn.Module, places: list[Fold]) -> list[str]:
    """Full names of the parameters besides the linears' weights that folding changes."""
    names = []
    for place in places:
        source = block.get_submodule(place.source)
        parts = ("bias",) if modules.is_linear(source) else ("weight", "bias")
        names += [f"{prefix}.{place.source}.{part}" for part in parts if getattr(source, part, None) is not None]
    return names


def check_folds(subject: Subject) -> None:
    """RequestError where the module map names no norms, or folding would change what a block computes."""
    found = folds(subject, subject.block(0))
    if subject.has_weights:
        tokens = torch.arange(_FEW_TOKENS).remainder(subject.vocabulary).unsqueeze(0)
        with closing(walk(subject, tokens, 1)) as blocks:
            check(next(blocks), found)


@torch.no_grad()
def check(inputs: BlockInputs, places: list[Fold]) -> None:
    """RequestError where folding changes what the block computes: a norm that others read too,
    that comes after the residual, or whose weight is no factor. Works on a copy of the block."""
    hidden, rest = inputs.batches[0]
    expected = _contribution(inputs.block, hidden, rest)
    slack = expected.abs().max() * (1e-3 if hidden.dtype == torch.float32 else 5e-2)

    def differs(tried: list[Fold]) -> bool:
        block = copy.deepcopy(inputs.block)
        for place in tried:
            width = _shape(block, place.linears[0])[1]
            fold(block, place, torch.logspace(-1, 1, width, base=2, device=hidden.device))
        return bool((_contribution(block, hidden, rest) - expected).abs().max() > slack)

    # What is not finite from the start is left to the statistics, which say where it comes from.
    if not bool(torch.isfinite(slack)) or not differs(places):
        return
    wrong = next((place for place in places if differs([place])), places[0])
    raise RequestError(
        f"awq: scales of {wrong.linears[0]} cannot be folded into {wrong.source}",
        allowed="a norm or linear that makes the input of these linears alone, up to a factor",
        hint="give other norms under `modules:` in the spec, or take gptq or rtn",
    )


def _contribution(block: nn.Module, hidden: Tensor, rest: dict[str, Any]) -> Tensor:
    """What the block adds to its input, fp32."""
    output = block(hidden, **rest)
    after: Tensor = output[0] if isinstance(output, tuple) else output
    return (after - hidden).float()


def _parent(paths: tuple[str, ...]) -> str:
    """The module that holds the linears; the linear itself where that is the block."""
    return paths[0].rpartition(".")[0] or paths[0]


def _shape(block: nn.Module, path: str) -> torch.Size:
    return modules.weight(modules.linear(block, path)).shape
