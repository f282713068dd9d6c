"""Model folders: whole ones load, all others are refused before a weight is read, with the tensors' names."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rayci.errors import RequestError
from rayci.model import loading
from rayci.model.folder import configuration, hash_files, identity, locate, parameters, verify, weight_files
from rayci.model.integrity import examine
from rayci.model.module_maps import MODULE_MAPS
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from tests.models import ARCHITECTURES, MIXTURES, differing, random_model, tiny, tokenizer, weights

Weights = dict[str, Tensor]
WEIGHTS = "model.safetensors"


def saved(folder: Path, kind: str = "llama", **settings: Any) -> Path:
    """The folder of a tiny random model."""
    random_model(kind, **settings).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def llama(whole: Path, tmp_path: Path) -> Path:
    """A folder that a test may damage."""
    return shutil.copytree(whole, tmp_path / "llama")


def configured(folder: Path, **changes: Any) -> None:
    (folder / "config.json").write_text(json.dumps({**configuration(folder), **changes}))


def stored(folder: Path, change: Callable[[Weights], Any]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


def without(name: str) -> Callable[[Path], None]:
    return partial(stored, change=lambda tensors: tensors.pop(name))


def with_tensor(name: str, value: Tensor) -> Callable[[Path], None]:
    return partial(stored, change=lambda tensors: tensors.update({name: value}))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", [*ARCHITECTURES, *MIXTURES])
def test_every_architecture_loads(kind: str, tied: bool, tmp_path: Path) -> None:
    loaded = loading.load(saved(tmp_path, kind, tied=tied))
    assert not differing(loaded, weights(tiny(kind, tied=tied)))


UP, HEAD = "model.layers.1.mlp.up_proj.weight", "lm_head.weight"
DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a missing tensor": (without(UP), f"1 missing: {UP}"),
    "a missing head": (without(HEAD), f"1 missing: {HEAD}"),
    "a tensor too many": (with_tensor("model.extra", torch.zeros(2)), "1 not in the model: model.extra"),
    "another shape": (with_tensor(UP, torch.zeros(3, 32)), rf"{UP} is \[3, 32\], not \[64, 32\]"),
    "more layers": (partial(configured, num_hidden_layers=4), "9 missing: model.layers.3.*and 5 more"),
    "fewer layers": (partial(configured, num_hidden_layers=2), "9 not in the model: model.layers.2"),
    "a near relative": (partial(configured, model_type="mistral"), "'mistral', but architectures LlamaForCausalLM"),
    "another type": (
        partial(configured, model_type="qwen2", architectures=None), r"missing: model.layers.0.self_attn.k_proj.bias"
    ),
    "an unknown type": (partial(configured, model_type="novel"), "novel"),
    "a wrong value": (partial(configured, hidden_size="wide"), "hidden_size"),
    "an activation": (partial(configured, hidden_act="loud"), "loud"),
    "quantised weights": (partial(configured, quantization_config={"quant_method": "gptq"}), "quantised already"),
    "whole numbers": (with_tensor(UP, torch.zeros(64, 32, dtype=torch.int8)), rf"floating point: {UP} \(I8\)"),
    "an adapter": (lambda folder: (folder / "adapter_config.json").write_text("{}"), "adapter"),
    "a cut file": (lambda folder: os.truncate(folder / WEIGHTS, 30_000), f"{WEIGHTS} is not a whole safetensors file"),
    "a junk file": (lambda folder: (folder / WEIGHTS).write_bytes(b"junk" * 99), "not a whole safetensors file"),
    "an empty file": (lambda folder: (folder / WEIGHTS).write_bytes(b""), "not a whole safetensors file"),
    "a number": (lambda folder: (folder / "config.json").write_text("5"), "config.json holds 5"),
    "brackets": (lambda folder: (folder / "config.json").write_text("[" * 100_000), "not a readable model folder"),
    "junk tokens": (lambda folder: (folder / "tokenizer.json").write_text("{]"), "does not load"),
    "other tokens": (lambda folder: _larger_vocabulary(folder), "knows 1153 tokens, the model has 1152 embeddings"),
}  # fmt: skip


def _larger_vocabulary(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"].append(["novel", -9.0])
    (folder / "tokenizer.json").write_text(json.dumps(content))


@pytest.mark.parametrize(("damage", "words"), DAMAGE.values(), ids=DAMAGE)
def test_a_folder_that_is_not_whole_is_refused_before_a_sweep_starts(
    damage: Callable[[Path], Any], words: str, llama: Path
) -> None:
    damage(llama)
    with pytest.raises(RequestError, match=f"(?s){words}") as caught:
        Sweep.open(_spec(llama))
    assert caught.value.at == "model"
    with pytest.raises(RequestError, match=f"(?s){words}"):
        loading.load(locate(str(llama)))


def _spec(folder: Path, **changes: Any) -> Spec:
    asked = {
        "name": "t",
        "model": str(folder),
        "data": "testbed",
        "interventions": {"wanda": {"sparsity": 0.5}},
        "criteria": ["utility"],
    }
    return Spec.model_validate({**asked, **changes})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.layers.0.self_attn.rotary_emb.inv_freq", torch.ones(4)),
        ("model.layers.0.self_attn.position_ids", torch.arange(4)),
        ("model.layers.0.attn.masked_bias", torch.zeros(())),
    ],
)
def test_known_buffers_of_older_checkpoints_are_dropped(name: str, value: Tensor, llama: Path) -> None:
    with_tensor(name, value)(llama)
    assert not differing(loading.load(llama), weights(tiny()))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value: float, llama: Path) -> None:
    stored(llama, lambda tensors: tensors[UP].view(-1)[7].fill_(value))
    with pytest.raises(RequestError, match=f"NaN or infinite weights: {UP}"):
        loading.load(llama)


@pytest.mark.parametrize("name", ["experts.2.w1.weight", "experts.4.w2.weight"])
def test_an_expert_that_lacks_a_tensor_is_named(name: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, "mixtral")
    stored(folder, lambda tensors: tensors.pop(f"model.layers.0.block_sparse_moe.{name}"))
    with pytest.raises(RequestError, match=rf"1 experts .*model.layers.0.block_sparse_moe.{name[:9]}"):
        examine(folder)


def test_a_module_map_that_does_not_fit_is_refused_before_a_sweep_starts(llama: Path) -> None:
    paths = {"blocks": "model.layers", "attention_in": ["self_attn.query"], "attention_out": "self_attn.o_proj"}
    with pytest.raises(RequestError, match="query") as caught:
        Sweep.open(_spec(llama, modules={**paths, "mlp_in": ["mlp.up_proj"], "mlp_out": "mlp.down_proj"}))
    assert str(caught.value.at).startswith("modules")


def test_all_shards_must_be_there(tmp_path: Path) -> None:
    random_model("llama").save_pretrained(tmp_path, max_shard_size="40KB")
    tokenizer().save_pretrained(tmp_path)
    shards = weight_files(locate(str(tmp_path)))
    assert len(shards) > 1
    assert not differing(loading.load(tmp_path), weights(tiny()))
    shards[1].unlink()
    with pytest.raises(RequestError, match=f"lacks {shards[1].name}, which"):
        locate(str(tmp_path))


@pytest.mark.parametrize("shards", ["40KB", "1GB"])
def test_the_number_of_parameters_is_read_from_headers(shards: str, tmp_path: Path) -> None:
    model = random_model("llama")
    model.save_pretrained(tmp_path, max_shard_size=shards)
    assert parameters(tmp_path) == sum(value.numel() for value in model.parameters())


def test_a_fifo_is_not_waited_for(llama: Path) -> None:
    (llama / "tokenizer.json").unlink()
    os.mkfifo(llama / "tokenizer.json")
    with pytest.raises(RequestError, match="not a regular file"):
        locate(str(llama))


CODE = """
from transformers import LlamaConfig, LlamaForCausalLM

class MineConfig(LlamaConfig):
    model_type = "mine"

class Mine(LlamaForCausalLM):
    config_class = MineConfig
"""


def test_a_model_with_code_of_its_own_loads_where_it_is_trusted(llama: Path) -> None:
    (llama / "modeling_mine.py").write_text(CODE)
    names = {"AutoConfig": "modeling_mine.MineConfig", "AutoModelForCausalLM": "modeling_mine.Mine"}
    configured(llama, model_type="mine", architectures=["Mine"], auto_map=names)
    paths = {name: path for name, path in asdict(MODULE_MAPS["llama"]).items() if path}
    with pytest.raises(RequestError, match="trust_remote_code: true"):
        loading.load(llama, modules=paths)
    loaded = loading.load(llama, modules=paths, trust_remote_code=True)
    assert type(loaded.model).__name__ == "Mine"
    assert not differing(loaded, weights(tiny()))


@pytest.mark.parametrize("code", [False, True])
@pytest.mark.parametrize(
    ("name", "text", "counts"),
    [
        ("generation_config.json", '{"repetition_penalty": 2.0}', (True, True)),
        ("added_tokens.json", "{}", (True, True)),
        ("modeling_mine.py", "x = 1", (False, True)),
        ("README.md", "A model.", (False, False)),
    ],
)
def test_what_identifies_a_model(name: str, text: str, counts: tuple[bool, bool], code: bool, llama: Path) -> None:
    before = identity(hash_files(llama, code=code))
    (llama / name).write_text(text)
    assert (identity(hash_files(llama, code=code)) != before) is counts[code]


def test_the_identity_of_a_model_is_that_of_its_copy(llama: Path, whole: Path) -> None:
    assert identity(hash_files(llama)) == identity(hash_files(whole))
    stored(llama, lambda tensors: tensors[UP].add_(1))
    assert identity(hash_files(llama)) != identity(hash_files(whole))


def test_code_in_another_repository_has_no_identity(llama: Path) -> None:
    configured(llama, auto_map={"AutoModelForCausalLM": "owner/name--modeling.Model"})
    with pytest.raises(RequestError, match="owner/name--modeling"):
        hash_files(llama, code=True)


def test_a_hashed_folder_is_hashed_again_only_where_it_is_a_copy(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = hash_files(llama)
    hashed: list[str] = []
    monkeypatch.setattr(
        "rayci.model.folder.hash_once", lambda path: hashed.append(path.name) or hashes[path.name].digest
    )
    verify(llama, hashes)
    assert not hashed
    os.utime(llama / WEIGHTS)
    verify(llama, hashes)
    assert hashed == [WEIGHTS]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without(UP), f"{WEIGHTS} is not the same here and where"),
        (
            lambda folder: stored(folder, lambda tensors: tensors[UP].add_(1)),
            f"{WEIGHTS} is not the same here and where",
        ),
        (lambda folder: (folder / "generation_config.json").unlink(), "generation_config.json is not both here and"),
    ],
)
def test_a_sweep_is_not_opened_on_another_model_than_the_hashed_one(
    change: Callable[[Path], Any], words: str, llama: Path
) -> None:
    first = Sweep.open(_spec(llama))
    again = Sweep.open(first.spec, hashed=first.hashes)
    assert again.fingerprint == first.fingerprint
    change(llama)
    with pytest.raises(RequestError, match=words):
        Sweep.open(first.spec, hashed=first.hashes)
