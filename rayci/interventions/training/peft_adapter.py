"""A LoRA adapter as peft saves it, as differences of the weights that it adapts.

    Δ = s·B·A,  s = alpha/r, or alpha/√r with `use_rslora`

`[out, in]` for a linear, transposed for GPT-2's Conv1D, `[tokens, channels]` for embeddings, as `merge_and_unload` of
peft merges them (arXiv 2106.09685; rank-stabilised: 2312.03732). What a merge of that form does not tell whole is
refused: DoRA, modules saved beside the adapter, biases, starts that change the base's weights. Embeddings that are
adapted are saved as a whole, too: where they are other than the base's, that difference is added with the adapter's.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rayci.errors import RequestError, refuse
from rayci.interventions.training.delta_base import ADAPTER_CONFIG, Base
from rayci.interventions.training.delta_source import DeltaSource, canonical_names
from rayci.interventions.training.delta_tensors import TensorFiles, safetensors_of
from rayci.model import modules
from rayci.model.integrity import listed
from rayci.storage.user_paths import read_text
from rayci.subject import Subject

_TENSOR = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<kind>embedding_)?(?P<side>[AB])(?:\.weight)?")
_WHOLE = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.base_layer\.weight")
"""Embeddings, beside their adapter."""
_LARGEST = 1 << 24
"""Bytes of a configuration."""
_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` that leave the base's weights as they are."""
_UNREAD = {
    "use_dora": "DoRA scales each row by a norm of the merged weight",
    "modules_to_save": "it replaces whole modules",
    "lora_bias": "it has biases of its own",
    "use_qalora": "its inputs are pooled by groups",
    "layer_replication": "it adds blocks to the model",
    "trainable_token_indices": "it replaces rows of the embeddings",
    "alora_invocation_tokens": "it works from certain tokens on",
    "target_parameters": "it adapts stacked experts, which peft wraps in one another",
    "arrow_config": "its experts are routed",
    "use_bdlora": "its matrices are block-diagonal",
    "kasa_config": "its singular values are apart",
    "monteclora_config": "its ranks are drawn",
    "velora_config": "its inputs are projected",
}
"""Settings of peft -> why a merge of A and B alone would be another model than the adapted one."""
_MERGED = "merge it with peft, `merge_and_unload()`, and give the saved model: form: checkpoint"


@dataclass(frozen=True, slots=True)
class _Pair:
    """The two matrices of one module."""

    a: str
    b: str
    rank: int
    scaling: float
    transposed: bool
    """Whether the parameter is `[in, out]`, the transpose of B·A."""
    whole: str | None
    """The base's weight, where it was saved too."""


class Adapter(DeltaSource):
    """A LoRA adapter; RequestError, naming settings or modules, where it is no adapter of this model."""

    def __init__(self, folder: Path, subject: Subject) -> None:
        config = _config(folder)
        refuse(_unread(folder, config))
        self._files = TensorFiles(safetensors_of(folder))
        self.base = Base(config.get("base_model_name_or_path") or None)
        known = canonical_names(subject)
        self._pairs: dict[str, list[_Pair]] = {}
        strange: list[str] = []
        unfit: list[str] = []
        for module, tensors in _matrices(folder, self._files).items():
            own = known.get(f"{module}.weight")
            found = None if own is None else subject.model.get_submodule(module)
            if own is None or not (isinstance(found, nn.Linear | nn.Embedding) or modules.is_conv1d(found)):
                strange.append(module)
                continue
            turned, whole = not isinstance(found, nn.Linear), tensors.get("whole")
            pair = _Pair(tensors["A"], tensors["B"], _rank(config, module), _scaling(config, module), turned, whole)
            self._pairs.setdefault(own, []).append(pair)
            unfit += self._unfit(pair, module, subject.model.get_parameter(own))
        if strange:
            raise RequestError(f"{folder} adapts {len(strange)} that are no linears of the model: {listed(strange)}")
        if unfit:
            raise RequestError(f"{folder} has {len(unfit)} matrices that do not fit the model: {listed(unfit)}")
        self.names = tuple(name for name, _ in subject.model.named_parameters() if name in self._pairs)
        self.reads_base = any(pair.whole for pairs in self._pairs.values() for pair in pairs)

    def _unfit(self, pair: _Pair, module: str, parameter: nn.Parameter) -> Iterator[str]:
        outputs, inputs = reversed(parameter.shape) if pair.transposed else parameter.shape
        wide, tall = self._files.headers[pair.a].shape, self._files.headers[pair.b].shape
        if (wide, tall) != ((pair.rank, inputs), (outputs, pair.rank)):
            yield f"{module} has A {list(wide)}, B {list(tall)} for {list(parameter.shape)} of rank {pair.rank}"
        if pair.whole and (saved := self._files.headers[pair.whole].shape) != tuple(parameter.shape):
            yield f"{module} is saved as {list(saved)}, not {list(parameter.shape)}"

    def difference(self, name: str, start: Tensor) -> Tensor:
        pairs = self._pairs[name]  # several, where a tied weight is adapted on both sides
        first, *others = (self._product(pair, start.device) for pair in pairs)
        product = sum(others, first)
        whole = next((pair.whole for pair in pairs if pair.whole), None)
        return product if whole is None else self._files.read(whole).to(start.device).float() - start + product

    def _product(self, pair: _Pair, device: torch.device) -> Tensor:
        a, b = (self._files.read(name).to(device).float() for name in (pair.a, pair.b))
        return ((b @ a).T if pair.transposed else b @ a) * pair.scaling


def _config(folder: Path) -> dict[str, Any]:
    path = folder / ADAPTER_CONFIG
    text = read_text(path, _LARGEST, f"the adapter in {folder}", "save_pretrained(…) of peft")
    try:
        config = json.loads(text)
    except ValueError as error:
        raise RequestError(f"{path} is no JSON: {error}", hint="fetch or save it again") from None
    if not isinstance(config, dict):
        raise RequestError(f"{path} holds {config!r:.60}", allowed="a JSON object")
    return config


def _unread(folder: Path, config: Mapping[str, Any]) -> Iterator[RequestError]:
    kind = config.get("peft_type")
    if kind != "LORA":
        yield RequestError(f"{folder} is an adapter of peft's type {kind}", allowed="LORA", hint=_MERGED)
    for key, reason in _UNREAD.items():
        if config.get(key):
            yield RequestError(f"{folder}: {key} = {config[key]!r:.60}: {reason}", allowed="plain LoRA", hint=_MERGED)
    if config.get("bias", "none") != "none":
        yield RequestError(f"{folder}: bias = {config['bias']!r}", allowed="none", hint=_MERGED)
    start = config.get("init_lora_weights", True)
    if start not in _STARTS:
        yield RequestError(
            f"{folder}: init_lora_weights = {start!r}: such a start may change the base's weights",
            allowed=", ".join(map(repr, _STARTS[1:])),
            hint="save_pretrained(…, path_initial_model_for_weight_conversion=…) of peft, or merge it with peft",
        )
    if not isinstance(config.get("r"), int) or config["r"] < 1 or not isinstance(config.get("lora_alpha"), int | float):
        yield RequestError(
            f"{folder}: r = {config.get('r')!r}, lora_alpha = {config.get('lora_alpha')!r}", allowed="numbers above 0"
        )


def _matrices(folder: Path, files: TensorFiles) -> dict[str, dict[str, str]]:
    """Module -> names of its `A`, its `B` and what is saved as a `whole` beside them.

    RequestError where there is anything else, or one side without the other.
    """
    sides: dict[str, dict[str, str]] = {}
    strange = []
    for name in files.headers:
        match, whole = _TENSOR.fullmatch(name), _WHOLE.fullmatch(name)
        if match:
            sides.setdefault(match["module"], {})[match["side"]] = name
        elif whole:
            sides.setdefault(whole["module"], {})["whole"] = name
        else:
            strange.append(name)
    strange += [name for found in sides.values() if not {"A", "B"} <= found.keys() for name in found.values()]
    if strange or not sides:
        said = listed(strange) if strange else "nothing"
        raise RequestError(f"{folder} holds what is no pair of LoRA matrices: {said}", allowed="lora_A with lora_B")
    return dict(sorted(sides.items()))


def _rank(config: Mapping[str, Any], module: str) -> int:
    return int(_by_pattern(config.get("rank_pattern"), module, config["r"]))


def _scaling(config: Mapping[str, Any], module: str) -> float:
    rank, alpha = _rank(config, module), float(_by_pattern(config.get("alpha_pattern"), module, config["lora_alpha"]))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _by_pattern(patterns: Mapping[str, Any] | None, module: str, otherwise: Any) -> Any:
    """The value of the first pattern that the module's name ends with, as peft looks it up."""
    return next((v for end, v in (patterns or {}).items() if re.match(rf"(.*\.)?({end})$", module)), otherwise)
