"""Stages in the store, packed or dense as they were: bytes, seconds of a core to write and to read.

pytest tests/benchmarks/bench_stages.py -m bench --capture=no
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rayci.context import Context
from rayci.intervention import Receipt
from rayci.interventions.compression import masks
from rayci.interventions.compression.grid import including_zero
from rayci.interventions.compression.lowest import lowest_in_row
from rayci.model.weight_bits import same_bits
from rayci.planning.plan import Names, Planner
from rayci.planning.spec import Spec
from rayci.storage import tensor_files
from rayci.storage.files import open_files
from rayci.storage.stages import StageStore
from rayci.testbed import collection
from tests.models import testbed

pytestmark = pytest.mark.bench
WIDTH, GROUP, LINEAR = 4096, 128, "layer"
STAGE = "ab" * 32
TESTBED = ("wanda@0.5", "sparsegpt@0.5", "gptq@4", "awq@4", "rtn@8", "ft > wanda@0.5", "rtn@4 > ft", "ga")

Case = tuple[str, Tensor, Mapping[str, Tensor]]
"""What was done, the weight that it leaves, and what its receipt keeps."""


def compressed(base: Tensor) -> Iterator[Case]:
    """A layer as each kind of compressor leaves it, at 16 bits a weight before."""
    mask = lowest_in_row(base.float().abs(), 0.5)
    kept = {LINEAR: masks.pack(mask)}
    yield "wanda@0.5", base.masked_fill(mask, 0), kept
    yield "sparsegpt@0.5", (base.float() * 1.01).to(base.dtype).masked_fill(mask, 0), kept
    for bits in (2, 3, 4, 8):
        grid = including_zero(base, bits, GROUP, symmetric=True)
        yield (
            f"gptq@{bits}",
            grid.round(base).to(base.dtype),
            {f"{LINEAR}.scale": grid.scale, f"{LINEAR}.zero": grid.zero},
        )
    yield "an edit", (base.float() * 1.01).to(base.dtype), {}


def seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """Of a core, the shortest of several runs."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


@dataclass
class Layer:
    """A compressed layer on a device, to be written to a folder and read from there in both ways."""

    weight: Tensor
    kept: Mapping[str, Tensor]
    base: Tensor
    """On the CPU."""
    folder: Path
    digest: str = ""
    """Of the dense file."""

    def __post_init__(self) -> None:
        self.place = torch.empty_like(self.weight)

    def write_dense(self) -> None:
        kept = {f"kept/{key}": value for key, value in self.kept.items()}
        tensors = {LINEAR: self.weight.cpu(), **kept}
        self.digest = tensor_files.write(open_files(self.folder / "dense"), "weights", tensors)

    def write(self) -> None:
        receipts = [Receipt((LINEAR,), kept=self.kept)]
        StageStore(self.folder / "packed").put_weights(STAGE, {LINEAR: self.weight}, receipts, {LINEAR: self.base})

    def read_dense(self) -> None:
        entry = {"sha256": self.digest, "bytes": 0}
        found = tensor_files.read(open_files(self.folder / "dense"), "weights", entry)
        assert found is not None
        self.place.copy_(found[LINEAR])

    def read(self) -> None:
        found = StageStore(self.folder / "packed").weights(STAGE)
        assert found is not None
        found[0].write_into({LINEAR: self.place}, {LINEAR: self.base})

    def size(self, kind: str) -> int:
        """Bytes of the weights' file."""
        return max(path.stat().st_size for path in (self.folder / kind).rglob("*") if path.is_file())


GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_a_wide_layer(device: str, tmp_path: Path) -> None:
    base = (torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(0)) * 0.02).to(torch.bfloat16)
    print(f"\n{'':14} times smaller   write, s: dense packed   read, s: dense packed")
    for name, weight, kept in compressed(base):
        layer = Layer(weight.to(device), kept, base, tmp_path)
        times = [seconds(work) for work in (layer.write_dense, layer.write, layer.read_dense, layer.read)]
        assert same_bits(layer.place.cpu(), weight)
        smaller = layer.size("dense") / layer.size("packed")
        print(f"{name:14} {smaller:13.1f}   {times[0]:15.2f} {times[1]:6.2f} {times[2]:16.2f} {times[3]:6.2f}")


@pytest.mark.parametrize("chain", TESTBED)
def test_a_stage_of_the_testbed(chain: str, tmp_path: Path) -> None:
    spec = Spec.model_validate({"name": "t", "interventions": {"ft": {}}, "criteria": ["sparsity"]})
    subject = testbed()
    subject.remember_base()
    for link in Planner(spec, Names(spec)).chain(chain):
        subject.apply(link.intervention, Context(collection(), batch_size=8), link.recompression)
    changed = subject.changed()
    weights, base = subject.matrices(subject.parameters_of(changed)), subject.matrices(subject.base_of(changed))
    dense = sum(value.nbytes for value in weights.values())
    dense += sum(value.nbytes for receipt in subject.receipts for value in receipt.kept.values())
    store = StageStore(tmp_path)
    store.put_weights(STAGE, weights, subject.receipts, base)
    size = max(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    print(f"\n{chain}: {dense / 1e6:.2f} MB dense, {size / 1e6:.2f} MB, {dense / size:.1f} times smaller")
