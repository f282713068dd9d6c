"""The one architecture adapter: where a decoder keeps its blocks and linears.

Nothing else in the project, `module_maps` beside it excepted, knows an attribute path of a model class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeGuard

from torch import Tensor, nn

from rayci.errors import RequestError
from rayci.model.experts import Expert, expert, stacked_parameter
from rayci.model.module_maps import MODULE_MAPS, ModuleMap, find_map

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.pytorch_utils import Conv1D

    Dense = nn.Linear | Conv1D
    """A linear that is a module and sees every token."""
    Linear = Dense | Expert


def module_map(model: PreTrainedModel, own: Mapping[str, Any] | None = None) -> ModuleMap:
    """The map of a model: the spec's `own`, or the built-in one of its `model_type`.

    Raises RequestError where the type is unknown or a path does not lead to a module.
    """
    kind = model.config.model_type
    paths = find_map(kind, own)
    if paths is None:
        raise RequestError(
            f"architecture {kind!r} has no module map",
            allowed=", ".join(MODULE_MAPS),
            hint="give one in the spec under `modules:` with " + ", ".join(f.name for f in fields(ModuleMap)),
        )
    _resolve(model, paths)
    return paths


def blocks(model: PreTrainedModel, paths: ModuleMap) -> nn.ModuleList:
    """The decoder blocks in order."""
    decoder_blocks = model.get_submodule(paths.blocks)
    if not isinstance(decoder_blocks, nn.ModuleList) or not len(decoder_blocks):
        raise TypeError(f"{paths.blocks} is no list of blocks")
    return decoder_blocks


def linear(block: nn.Module, path: str) -> Linear:
    """The linear at a path relative to its block."""
    return expert(block, path) or dense(block, path)


def dense(block: nn.Module, path: str) -> Dense:
    """The linear at a path relative to its block, where it is a module of its own."""
    found = block.get_submodule(path)
    found = getattr(found, "base_layer", found)  # peft puts what it adapts into a layer of its own
    if not isinstance(found, nn.Linear) and not is_conv1d(found):
        raise RequestError(f"{path} is a {type(found).__name__}", allowed="nn.Linear or Conv1D")
    return found


def is_conv1d(module: object) -> TypeGuard[Conv1D]:
    """Whether a linear is GPT-2's, which stores its weight as `[in, out]`."""
    from transformers.pytorch_utils import Conv1D  # loaded with the model; not where only settings are read

    return isinstance(module, Conv1D)


def is_linear(module: object) -> TypeGuard[Linear]:
    """Whether a module, or an expert's matrix, is a linear."""
    return isinstance(module, nn.Linear | Expert) or is_conv1d(module)


def weight(module: Linear) -> Tensor:
    """The weight as `[out, in]`, a view that may be written in place (Conv1D stores `[in, out]`)."""
    return module.weight.data.T if is_conv1d(module) else module.weight.data


def bias(module: Linear) -> Tensor | None:
    """The bias `[out]`, which may be written in place; None where there is none, as in experts."""
    found = None if isinstance(module, Expert) else module.bias
    return None if found is None else found.data


def matrix(parameter: Tensor, module: Linear) -> Tensor:
    """The same view of a copy of the parameter that holds the weight."""
    if isinstance(module, Expert):
        return parameter[module.index]
    return parameter.T if is_conv1d(module) else parameter


def parameter_name(name: str, module: Linear) -> str:
    """Name of the parameter that holds a linear's weight; that of an expert holds those of its siblings too."""
    return stacked_parameter(name) if isinstance(module, Expert) else f"{name}.weight"


def rectifies(model: PreTrainedModel) -> bool:
    """Whether the MLP's activation is ReLU, so that positive scales pass through it."""
    config = model.config.get_text_config()
    return (getattr(config, "activation_function", None) or getattr(config, "hidden_act", None)) == "relu"


def _resolve(model: PreTrainedModel, paths: ModuleMap) -> None:
    try:
        for block in blocks(model, paths):
            linears = [path for group in paths.groups(block) for path in group]
            for path in linears:
                linear(block, path)
            if twice := Counter(linears) - Counter(set(linears)):
                raise TypeError(f"{', '.join(twice)} stands in two places")
            for norm in filter(None, (paths.attention_norm, paths.mlp_norm)):
                if next(block.get_submodule(norm).parameters()).dim() != 1:
                    raise TypeError(f"{norm} is no norm")
    except (AttributeError, TypeError, StopIteration) as error:
        raise RequestError(
            f"the module map does not fit {type(model).__name__}: {error}", at=str(asdict(paths)), hint="print(model)"
        ) from None
