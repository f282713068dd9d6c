"""Untouched weights are mapped from files that processes share, and are what was loaded, bit for bit."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rayci.codec.exact_forms import Packed
from rayci.context import Context
from rayci.intervention import Applied, Receipt
from rayci.interventions.compression.magnitude import Magnitude
from rayci.model import base_weights, loading
from rayci.model.base_weights import copied, untouched
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import random_model, tiny, tokenizer

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's folder of its own, and weights that are large from the first byte on."""
    monkeypatch.setenv("RAYCI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(base_weights, "MAPPED_FROM", 0)
    return tmp_path / "cache" / "prepared"


def saved(folder: Path, kind: str = "llama", *, half: bool = False, shards: str = "1GB", **settings: Any) -> Path:
    model = random_model(kind, **settings)
    (model.half() if half else model).save_pretrained(folder, max_shard_size=shards)
    tokenizer().save_pretrained(folder)
    return folder


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].reshape(-1).view(torch.uint8).equal(other[name].reshape(-1).view(torch.uint8))
        for name in one
    )


def written(cache: Path) -> set[str]:
    """Names of the tensors that the node's file holds."""
    (path,) = cache.glob("*.safetensors")
    return set(base_weights.load_file(path))


@pytest.mark.parametrize(
    ("settings", "converted"),
    [
        ({}, ""),
        ({"tied": True}, ""),
        ({"shards": "30KB"}, ""),
        ({"half": True}, "model"),
        ({"kind": "mixtral"}, ".mlp."),
    ],
    ids=["as it is", "tied", "sharded", "another dtype", "stacked and renamed"],
)
def test_what_the_folder_holds_is_mapped_from_there_and_the_rest_from_the_nodes_file(
    settings: dict[str, Any], converted: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = loading.load(saved(tmp_path / "model", **settings))
    expected = copied(subject.model)
    assert same(untouched(tmp_path / "model", "id", subject.model), expected)
    names = {name for name in expected if converted and (converted in name or converted == "model")}
    assert written(cache) == names
    monkeypatch.setattr(base_weights, "_write", None)
    assert same(untouched(tmp_path / "model", "id", subject.model), expected), "later processes write nothing"
    assert same(untouched(tmp_path / "model", "id", subject.model), expected)


def test_a_value_that_differs_in_a_bit_alone_is_another(tmp_path: Path, cache: Path) -> None:
    folder = saved(tmp_path / "model")
    name = "model.norm.weight"
    model = loading.load(folder).model
    with torch.no_grad():
        model.get_parameter(name)[0] = 0.0
    model.save_pretrained(folder)
    with torch.no_grad():
        model.get_parameter(name)[0] = -0.0
    assert same(untouched(folder, "id", model), copied(model)) and written(cache) == {name}


def test_a_small_model_or_a_node_without_room_has_copies(
    tmp_path: Path, tiny_disk: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = loading.load(saved(tmp_path / "model", half=True))
    monkeypatch.setattr(base_weights, "MAPPED_FROM", 1 << 26)
    assert same(untouched(tmp_path / "model", "id", subject.model), copied(subject.model)) and not cache.exists()
    monkeypatch.setattr(base_weights, "MAPPED_FROM", 0)
    monkeypatch.setenv("RAYCI_CACHE", str(tiny_disk))
    assert same(untouched(tmp_path / "model", "id", subject.model), copied(subject.model))
    assert not list(tiny_disk.rglob("*.safetensors"))


def test_files_of_models_that_nobody_uses_make_room(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = loading.load(saved(tmp_path / "model", half=True))
    expected = copied(subject.model)
    size = sum(value.nbytes for value in expected.values())
    monkeypatch.setattr(base_weights, "_most", lambda _: 5 * size // 2)
    held = untouched(tmp_path / "model", "one", subject.model)
    (first,) = cache.glob("*.safetensors")
    untouched(tmp_path / "model", "two", subject.model)
    untouched(tmp_path / "model", "one", subject.model)
    untouched(tmp_path / "model", "three", subject.model)
    assert first.exists() and len(list(cache.glob("*.safetensors"))) == 2, "the second was used least recently"
    first.unlink()
    assert same(held, expected), "who has it mapped keeps it"
    assert same(untouched(tmp_path / "model", "one", subject.model), expected) and first.exists()


def test_a_stage_is_reached_with_one_copy_of_every_tensor() -> None:
    subject = tiny()
    names = subject.weight_names()[:2]
    stage = Packed.of({n: torch.zeros_like(value) for n, value in subject.parameters_of(names[:1]).items()}, {})
    subject.remember_base()
    assert subject.base is not None
    expected = subject.base[names[1]]
    subject.base = {names[1]: expected}  # of the others nothing is read
    subject.applied = [Applied(Magnitude(sparsity=0.5), Receipt(names))]
    with torch.no_grad():
        subject.model.get_parameter(names[1]).zero_()
    subject.load(stage, [Applied(Magnitude(sparsity=0.5), Receipt(names[:1]))])
    assert not subject.model.get_parameter(names[0]).any()
    assert subject.model.get_parameter(names[1]).equal(expected) and subject.changed() == names[:1]


def pages(path: Path) -> tuple[int, int, int]:
    """Of a file that this process has mapped: bytes in memory, its share of them, and its own."""
    found, inside = {"Rss": 0, "Pss": 0, "Private_Dirty": 0}, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            inside = rest[-1:] == [str(path)]
        elif inside and first[:-1] in found:
            found[first[:-1]] += int(rest[0]) << 10
    return found["Rss"], found["Pss"], found["Private_Dirty"]


def _hold(folder: Path, subject: Subject, ready: Any, stop: Any) -> None:
    base = untouched(folder, "id", subject.model)
    total = sum(float(value.sum()) for value in base.values())
    ready.set()
    stop.wait()
    assert total


def test_processes_share_the_pages(tmp_path: Path, cache: Path) -> None:
    """Two hold all weights at once: each has half of the pages, and none of its own, also after going back to them."""
    folder = saved(tmp_path / "model", half=True, hidden_size=256, intermediate_size=512)
    subject = loading.load(folder)
    expected, size = copied(subject.model), sum(value.nbytes for value in subject.model.parameters())
    subject.base = untouched(folder, "id", subject.model)
    assert same(subject.base, expected)
    (path,) = cache.glob("*.safetensors")
    ready, stop = FORK.Event(), FORK.Event()
    other = FORK.Process(target=_hold, args=(folder, subject, ready, stop))
    other.start()
    try:
        assert ready.wait(60)
        subject.apply(Magnitude(sparsity=0.5), Context(collection()))
        with subject.untouched():
            assert same(copied(subject.model), expected)
        subject.restore()
        assert same(copied(subject.model), expected)
        resident, share, own = pages(path)
        assert resident >= size > 1 << 22
        assert share < 0.6 * resident and own == 0
    finally:
        stop.set()
        other.join()
    assert other.exitcode == 0
