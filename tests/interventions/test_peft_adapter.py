"""Adapters that peft trained and saved: the weights are those that peft merges, or the adapter is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rayci import registry
from rayci.context import Context
from rayci.data.records import Collection
from rayci.errors import RequestError
from rayci.interventions.training.delta import Delta
from rayci.model import loading
from rayci.subject import Subject
from tests.interventions.delta_folders import adapted, merged, noise, saved_adapter, saved_difference, saved_model
from tests.models import ARCHITECTURES, differing, tiny, weights

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
CONTEXT = Context(Collection())
EMBEDDINGS = "model.embed_tokens.weight"
ON_BOTH_SIDES = ["embed_tokens", "lm_head"]
LLAMA = ["q_proj", "down_proj", "embed_tokens", "lm_head"]
PATTERNS: dict[str, Any] = {"rank_pattern": {"down_proj": 2}, "alpha_pattern": {r"layers\.[01].*q_proj": 5}}


def plus(subject: Subject, folder: Path, **settings: Any) -> Subject:
    subject.apply(Delta(source=str(folder), **settings), CONTEXT)
    return subject


@pytest.mark.parametrize(
    ("kind", "tied", "config"),
    [
        ("llama", False, {"target_modules": LLAMA, "r": 3, "lora_alpha": 7, **PATTERNS}),
        *((kind, False, {"target_modules": "all-linear", "r": 4, "use_rslora": True}) for kind in ARCHITECTURES),
        ("llama", True, {"target_modules": LLAMA[:3], "r": 2, "init_lora_weights": "gaussian"}),
        ("gpt2", True, {"target_modules": ["c_attn", "c_proj", "wte"], "r": 3, "fan_in_fan_out": True}),
        ("mixtral", False, {"target_modules": ["q_proj", "o_proj"], "r": 2}),
    ],
)
def test_the_weights_are_those_that_peft_merges(kind: str, tied: bool, config: dict[str, Any], tmp_path: Path) -> None:
    subject = tiny(kind, tied=tied)
    before, made = weights(subject), adapted(subject, **config)
    plus(subject, saved_adapter(made, tmp_path / "adapter"))
    expected = merged(made)
    assert differing(subject, before) == set(subject.receipts[0].changed) != set()
    for name, value in weights(subject).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("method", "modules"), [("delta", ["embed_tokens"]), ("dare", ["embed_tokens"]), ("delta", ON_BOTH_SIDES)]
)
def test_embeddings_that_were_saved_beside_their_adapter_are_added_too(
    method: str, modules: list[str], tmp_path: Path
) -> None:
    """Once, where both sides of a tied weight are adapted; and what a step before it did to them stays."""
    subject = tiny(tied=modules == ON_BOTH_SIDES)
    made = adapted(subject, target_modules=modules, r=2)
    folder = saved_adapter(made, tmp_path / "adapter")
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({name: value + name.endswith("base_layer.weight") for name, value in tensors.items()}, file)
    subject.remember_base()
    earlier = noise(subject, names=[EMBEDDINGS])
    plus(subject, saved_difference(earlier, tmp_path / "earlier", rayci="difference"))
    source = {"source": str(folder)} if method == "delta" else {"sources": (str(folder),), "drop": 0.0}
    subject.apply(registry.intervention(method).configure(settings=source), CONTEXT)
    expected = merged(made)[EMBEDDINGS] + 1 + earlier[EMBEDDINGS]
    torch.testing.assert_close(subject.model.get_parameter(EMBEDDINGS), expected)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An adapter of the tiny model."""
    return saved_adapter(adapted(tiny(), target_modules=["q_proj"], r=2), tmp_path / "adapter")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"use_dora": True}, "use_dora = True: DoRA scales each row"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save = .*: it replaces whole modules"),
        ({"target_parameters": ["mlp.experts.down_proj"]}, "it adapts stacked experts"),
        ({"bias": "all"}, "bias = 'all'"),
        ({"init_lora_weights": "pissa"}, "such a start may change the base's weights"),
        ({"peft_type": "IA3"}, "an adapter of peft's type IA3"),
        ({"r": 3}, r"of rank 3"),
        ({"r": 0}, r"r = 0, lora_alpha = 8"),
        ({"lora_alpha": None}, r"lora_alpha = None"),
        ({"base_model_name_or_path": "owner/another"}, "was made from owner/another, the model here is a model object"),
    ],
)
def test_what_a_merge_does_not_tell_is_refused(change: dict[str, Any], text: str, folder: Path) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    subject = tiny()
    before = weights(subject)
    with pytest.raises(RequestError, match=text) as error:
        plus(subject, folder)
    assert not differing(subject, before) and len(str(error.value).splitlines()) <= 4


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (
            "self_attn.q_proj",
            "self_attn.query",
            "adapts 3 that are no linears of the model: model.layers.0.self_attn.q",
        ),
        ("self_attn.q_proj", "input_layernorm", "adapts 3 that are no linears of the model"),
        (
            "lora_B",
            "lora_magnitude_vector",
            "no pair of LoRA matrices: base_model.model.model.layers.0.self_attn.q_proj",
        ),
        ("self_attn.q_proj", "mlp.up_proj", r"3 matrices that do not fit the model: model.layers.0.mlp.up_proj has A"),
    ],
)
def test_matrices_of_another_model_are_refused(old: str, new: str, text: str, folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({name.replace(old, new): value for name, value in load_file(file).items()}, file)
    with pytest.raises(RequestError, match=text):
        plus(tiny(), folder)


def test_pickled_adapters_and_spoilt_configurations_are_refused(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(RequestError, match="holds pickles alone"):
        plus(tiny(), folder)
    for text in ("{", "[]"):
        (folder / "adapter_config.json").write_text(text)
        with pytest.raises(RequestError, match=r"adapter_config.json (is no JSON|holds \[\])"):
            plus(tiny(), folder)


def test_the_base_is_known_by_its_hub_id_its_folder_and_its_folders_name(folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--owner--name" / "snapshots" / ("0" * 40)
    places = {saved_model(tiny().model, tmp_path / "mine"): ("mine", "owner/mine", str(tmp_path / "mine"))}
    places[saved_model(tiny().model, snapshot)] = ("owner/name",)
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text())
    for place, names in places.items():
        for name in (*names, "owner/another"):
            file.write_text(json.dumps(config | {"base_model_name_or_path": name}))
            subject = loading.load(place)
            if name in names:
                plus(subject, folder)
            else:
                with pytest.raises(RequestError, match="was made from owner/another") as error:
                    plus(subject, folder)
                assert "`base: owner/another`" in str(error.value.hint)
                plus(subject, folder, base="owner/another")
