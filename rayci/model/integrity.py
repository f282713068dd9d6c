"""Whether a model's folder is whole: what configuration, tokenizer and the weights' headers tell, no weight read.

The headers go through transformers' own loading on torch's meta device, so renamed, fused and
stacked tensors are understood as they will be when the weights load, and by the same report.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from rayci.errors import RayciError, RequestError
from rayci.model.folder import configuration, weight_files

KNOWN_BUFFERS = re.compile(r"(^|\.)(rotary_emb\.inv_freq|(attn|attention)\.(masked_)?bias|position_ids)$")
"""Tensors that older checkpoints hold and models now compute: rotary frequencies, causal masks, positions.

Nothing may be missing: transformers itself knows which tensor a tied head takes, and does not report it.
"""
_FLOATS = ("F64", "F32", "F16", "BF16")
_EXPERT = re.compile(r"(.+\.experts)\.(\d+)\.(.+)")
_FETCH_AGAIN = "fetch or save the folder again; config.json and weights must be of one model"


def examine(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedModel:
    """The model without its weights, on torch's meta device.

    Raises RequestError, naming the tensors, where the folder would load wrongly or not at all. NaN
    among the weights is found where they load.
    """
    _refuse_foreign(folder, trust_remote_code)
    weights = _headers(folder)
    with opening(folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        with torch.device("meta"):
            build = type(AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code))
        model: PreTrainedModel
        model, report = _filled(build, config, weights)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
        model.name_or_path = model.config.name_or_path = str(folder)
    _refuse_differences(folder, report, "config.json", _FETCH_AGAIN)
    _refuse_unknown_tokens(folder, len(next(model.get_input_embeddings().parameters())), tokenizer)
    return model


def refuse_unfit(folder: Path, model: PreTrainedModel) -> None:
    """RequestError, naming the tensors, where a folder's weights are not those of such a model, stored in any way."""
    weights = _headers(folder)
    with opening(folder):
        _, report = _filled(type(model), copy.deepcopy(model.config), weights)
    _refuse_differences(folder, report, "the model", "whole weights of a model of the same architecture and sizes")


def _filled(build: type[Any], config: Any, weights: Mapping[str, Tensor]) -> tuple[PreTrainedModel, Mapping[str, Any]]:
    """The model on the meta device as transformers fills it with these tensors, and its loading report."""
    model, report = build.from_pretrained(
        None,
        config=config,
        state_dict=weights,
        device_map={"": "meta"},
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    return model, report


def refuse_not_finite(folder: Path, model: nn.Module) -> None:
    """RequestError where a weight is NaN or infinite."""
    bad = [name for name, value in model.named_parameters() if not bool(torch.isfinite(value).all())]
    if bad:
        raise RequestError(
            f"{len(bad)} tensors of {folder} hold NaN or infinite weights: {listed(bad)}",
            hint="another checkpoint; where the file is sound, `dtype: bfloat16` or float32, which hold larger numbers",
        )


@contextmanager
def quietly() -> Iterator[None]:
    """transformers' progress and warnings are off inside."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def opening(folder: Path) -> Iterator[None]:
    """Whatever transformers raises about a folder becomes a RequestError; its progress and warnings are off."""
    try:
        with quietly():
            yield
    except (RayciError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a folder can be wrong in more ways than transformers has errors for
        reason = str(error) if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {error}"
        raise RequestError(f"{folder} does not load: {reason}", hint=_FETCH_AGAIN) from error


def _refuse_foreign(folder: Path, trust_remote_code: bool) -> None:
    """What loads without a word as something else than a plain model of its architecture."""
    config = configuration(folder)
    kind, named = config.get("model_type"), config.get("architectures")
    classes = set(named) if isinstance(named, list) else set()
    owners = {owner for owner, built in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items() if built in classes}
    if owners and kind not in owners:
        raise RequestError(
            f"config.json of {folder} says model_type {kind!r}, but architectures {', '.join(sorted(classes))}",
            allowed=f"model_type {', '.join(sorted(owners))}",
            hint=_FETCH_AGAIN,
        )
    if kind not in CONFIG_MAPPING and config.get("auto_map") and not trust_remote_code:
        raise RequestError(
            f"model_type {kind!r} of {folder} needs the code that lies beside it",
            hint="trust_remote_code: true in the spec, where you trust whoever wrote it",
        )
    if (folder / "adapter_config.json").exists():
        raise RequestError(f"{folder} holds an adapter", hint="merge it into the model: merge_and_unload() of peft")
    if config.get("quantization_config") is not None:
        raise RequestError(
            f"the weights of {folder} are quantised already",
            hint="the unquantised checkpoint, and a step that quantises",
        )
    if config.get("transformers_weights") is not None:
        raise RequestError(
            f"config.json of {folder} names other weights", hint="model.safetensors, no transformers_weights"
        )


def _refuse_differences(folder: Path, report: Mapping[str, Any], fit: str, hint: str) -> None:
    """RequestError with the hint where transformers' loading report says that file and model differ in any tensor."""
    missing, unexpected = set(report["missing_keys"]), set(report["unexpected_keys"])
    unexpected = {name for name in unexpected if not KNOWN_BUFFERS.search(name)}
    mismatched = {f"{name} is {list(stored)}, not {list(asked)}" for name, stored, asked in report["mismatched_keys"]}
    differences = {"missing": missing, "not in the model": unexpected, "of another shape": mismatched}
    parts = [f"{len(names)} {what}: {listed(names)}" for what, names in differences.items() if names]
    if parts:
        raise RequestError(f"the weights of {folder} do not fit {fit}: {'; '.join(parts)}", hint=hint)


def _headers(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the weights by name, without its values; RequestError for files that are cut or junk."""
    tensors: dict[str, Tensor] = {}
    odd = []
    for path in weight_files(folder):
        # Not mapped into memory: the machine that starts a sweep may be smaller than the model.
        with reading(path), safe_open(path, framework="pt", backend="pread") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                header = file.get_slice(name)
                if name in tensors or (header.get_dtype() not in _FLOATS and not KNOWN_BUFFERS.search(name)):
                    odd.append(f"{name} ({'twice' if name in tensors else header.get_dtype()})")
                tensors[name] = torch.empty(header.get_shape(), device="meta")
    if odd:
        raise RequestError(
            f"{len(odd)} tensors of {folder} are stored twice or not as floating point: {listed(odd)}",
            allowed=f"each tensor once, as {', '.join(_FLOATS)}",
            hint=_FETCH_AGAIN,
        )
    if odd := _odd_experts(tensors):
        raise RequestError(
            f"{len(odd)} experts of {folder} lack tensors that others have: {listed(odd)}", hint=_FETCH_AGAIN
        )
    return tensors


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever safetensors raises about a file becomes a RequestError."""
    try:
        yield
    except Exception as error:  # SafetensorError is not exported for every version
        raise RequestError(f"{path} is not a whole safetensors file: {error}", hint="fetch or save it again") from None


def _odd_experts(tensors: Mapping[str, Tensor]) -> list[str]:
    """Experts, stored one by one, whose tensors are not those of most of their siblings; transformers stacks them."""
    siblings: dict[str, dict[int, set[tuple[str, torch.Size]]]] = {}
    for name, tensor in tensors.items():
        if match := _EXPERT.fullmatch(name):
            siblings.setdefault(match[1], {}).setdefault(int(match[2]), set()).add((match[3], tensor.shape))
    odd = []
    for place, members in siblings.items():
        usual = set(Counter(map(frozenset, members.values())).most_common(1)[0][0])
        odd += [
            f"{place}.{number}"
            for number in sorted(members.keys() | range(len(members)))
            if members.get(number) != usual
        ]
    return odd


def _refuse_unknown_tokens(folder: Path, rows: int, tokenizer: Any) -> None:
    """Text would index beyond the embeddings; tokens that were only added come up where they are spelt out."""
    if tokenizer.vocab_size > rows:
        raise RequestError(
            f"the tokenizer of {folder} knows {tokenizer.vocab_size} tokens, the model has {rows} embeddings",
            hint="the model's own tokenizer",
        )


def listed(names: Iterable[str], most: int = 4) -> str:
    """The first few names in order."""
    ordered = sorted(names)
    return ", ".join(ordered[:most]) + (f" and {len(ordered) - most} more" if len(ordered) > most else "")
