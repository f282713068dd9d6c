"""Equality with llm-compressor, each in its own environment: `make test-oracle`.

Same model, same calibration tokens, one thread; on the testbed and on a wider random Llama. Prints
how many times as fast we are: the median of pairs of runs, one straight after the other.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rayci import registry
from rayci.context import Context
from rayci.interventions.compression.hessian import hessians, objective
from rayci.interventions.compression.walk import walk
from rayci.model import loading, modules
from rayci.testbed import checkpoint, collection
from tests.models import tiny
from tests.oracle.llmcompressor_run import PYTHON, compress

SEQUENCES, PAIRS = 128, 3
METHODS: dict[str, tuple[float, dict[str, Any]]] = {
    "wanda": (0.5, {}),
    "sparsegpt": (0.5, {}),
    "gptq": (4, {"symmetric": True, "static_groups": True}),  # llm-compressor lays all groups beforehand
}
LEAST = {"wanda": 0.9999, "sparsegpt": 0.999, "gptq": 0.999}
"""Smallest share of equal masks or weights."""
SLACK = 1e-3
"""How far above theirs, as a share, our objective may be: sums taken in another order put some weights
on the other side of a threshold, for better or worse."""
WIDE: dict[str, Any] = {"hidden_size": 512, "intermediate_size": 1024, "num_attention_heads": 8}

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(not PYTHON.exists(), reason="make test-oracle builds llm-compressor's environment"),
]


@dataclass(frozen=True)
class Bench:
    """A model, its calibration tokens, and how much of it must come out equal."""

    name: str
    folder: Path
    tokens: Tensor
    equal: tuple[str, ...]
    """Prefixes of the weights that are compared one by one; where blocks are wide, differences in the first
    grow in the next."""


@pytest.fixture(scope="module", params=["testbed", "wide"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    wide = request.param == "wide"
    folder = tmp_path_factory.mktemp("wide") if wide else checkpoint()
    if wide:
        subject = tiny(**WIDE, num_key_value_heads=4, max_position_embeddings=256, num_hidden_layers=2)
        subject.model.save_pretrained(folder)
        subject.tokenizer.save_pretrained(folder)
    tokenizer = loading.load(folder).tokenizer
    tokens = Context(collection()).calibration(tokenizer, SEQUENCES, 128 if wide else 64)
    return Bench(request.param, folder, tokens, ("model.layers.0.",) if wide else ("model.layers.",))


def theirs(method: str, bench: Bench, scratch: Path) -> tuple[dict[str, Tensor], float]:
    """Compressed weights by name, and seconds."""
    done = compress(bench.folder, bench.tokens, method, scratch, out=scratch / "out.safetensors")
    return load_file(scratch / "out.safetensors"), done.seconds


def ours(method: str, bench: Bench) -> tuple[dict[str, Tensor], float]:
    """Compressed weights by name, and seconds."""
    torch.set_num_threads(1)
    subject = loading.load(bench.folder)
    strength, settings = METHODS[method]
    made = registry.intervention(method).configure("published", strength, {**settings, "length": bench.tokens.shape[1]})
    start = time.perf_counter()
    receipt = subject.apply(made, Context(collection(), tokens=bench.tokens))
    seconds = time.perf_counter() - start
    return {name: value.detach() for name, value in subject.parameters_of(receipt.changed).items()}, seconds


@torch.no_grad()
def loss(bench: Bench, compressed: Mapping[str, Tensor]) -> float:
    """Σ over linears of tr(ΔW H ΔWᵀ), H of the inputs that the blocks compressed before leave."""
    subject = loading.load(bench.folder)
    total = 0.0
    for inputs in walk(subject, bench.tokens, 8):
        found = hessians(inputs)
        for group in inputs.groups:
            for path in group:
                weight = modules.weight(modules.linear(inputs.block, path))
                other = compressed[f"{inputs.name}.{path}.weight"]
                total += objective(other - weight, found[group[0]])
                weight.copy_(other)
    return total


@pytest.mark.parametrize("method", METHODS)
def test_same_as_llmcompressor(method: str, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ratios = []
    for _ in range(PAIRS):
        expected, their_seconds = theirs(method, bench, tmp_path)
        found, seconds = ours(method, bench)
        ratios.append(their_seconds / seconds)
    assert expected.keys() == found.keys()
    same, count = 0, 0
    for name, value in found.items():
        if not name.startswith(bench.equal):
            continue
        other = expected[name]
        equal = torch.isclose(value, other, atol=1e-5) if method == "gptq" else (value == 0) == (other == 0)
        same, count = same + int(equal.sum()), count + equal.numel()
    ratio = loss(bench, found) / loss(bench, expected)
    with capsys.disabled():
        print(
            f"\n{bench.name} {method}: {same / count:.5f} equal, objective {ratio:.5f} of theirs, "
            f"{statistics.median(ratios):.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f})",
            end="",
        )
    assert count > 300_000
    assert same / count >= LEAST[method]
    assert ratio <= 1 + SLACK
