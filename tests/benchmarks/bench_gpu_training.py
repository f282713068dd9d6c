"""Steps of training on a Llama-3-8B-shaped random model in bf16: seconds, utilisation, and memory beside its estimate.

    pytest tests/benchmarks/bench_gpu_training.py -m gpu --capture=no
    RAYCI_BENCH_SHAPE=tiny pytest tests/benchmarks/bench_gpu_training.py -m gpu --capture=no    # tries it on a CPU

Published presets on documents as long as they allow, cut to a few steps. Utilisation: the operations that
the method states, by seconds and by the rate of one matrix product on the device. Sought: 40 %.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from rayci import registry
from rayci.context import Context
from rayci.data.records import Document
from rayci.testbed import collection
from rayci.units import GIB
from rayci.workload import Workload
from tests.benchmarks.bench_gpu import CUDA, DEVICE, DTYPE, NAME, model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not CUDA and NAME != "tiny", reason="needs a GPU, or RAYCI_BENCH_SHAPE=tiny"),
]
TINY = NAME == "tiny"
STEPS = 2
LOOP: dict[str, Any] = {"max_steps": STEPS, **({"last_layers": 2, "samples": 16} if TINY else {})}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ga": ("ga", "published", LOOP),
    "gd": ("gd", "published", LOOP),
    "rmu": ("rmu", "published", {"max_batches": 4 * STEPS}),
    "npo_klr on all weights, moments on the host": ("npo_klr", "muse_news", {"max_steps": STEPS, "samples": 64}),
}
"""What is run: method, preset, and what is changed of it."""


def context() -> Context:
    """Documents longer than any preset reads, made of the testbed's."""
    data = collection()
    long = [" ".join(document.text for document in data.forget[:200])] * 64
    documents = tuple(Document(text, topic) for text, topic in zip(long, ("bio", "cyber") * 32, strict=True))
    return Context(replace(data, forget=documents, retain=documents))


def rate() -> float:
    """Operations a second of one matrix product in the model's dtype."""
    size = 8192 if CUDA else 512
    one, other = (torch.randn(size, size, device=DEVICE, dtype=DTYPE) for _ in range(2))
    runs = 20
    for count in (1, runs):
        started = _now()
        for _ in range(count):
            one @ other
        taken = _now() - started
    return runs * 2 * size**3 / taken


def _now() -> float:
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


@pytest.fixture(scope="module")
def rows() -> Iterator[list[str]]:
    """Lines of the table, printed in the end."""
    found: list[str] = []
    yield found
    print("\n\n| what | seconds | utilisation | peak, GiB | estimate, GiB |\n|---|---|---|---|---|")
    print("\n".join(found))


@pytest.mark.parametrize("name", CASES)
def test_seconds_utilisation_and_memory(name: str, rows: list[str]) -> None:
    method, preset, changed = CASES[name]
    subject, given = model(), context()
    made = registry.intervention(method).configure(preset, None, changed)
    work = Workload(subject)
    if CUDA:
        work = replace(work, device_memory=torch.cuda.get_device_properties(0).total_memory)
        torch.cuda.reset_peak_memory_stats()
    started = _now()
    receipt = subject.apply(made, given)
    seconds = _now() - started
    used = made.operations(work) / seconds / rate()
    peak = torch.cuda.max_memory_allocated() if CUDA else 0
    estimate = work.weight_bytes + made.memory(work)
    rows.append(f"| {name} | {seconds:.1f} | {used:.0%} | {peak / GIB:.1f} | {estimate / GIB:.1f} |")
    assert receipt.counts["steps"] == changed.get("max_steps", changed.get("max_batches"))
    assert peak <= estimate
    del subject, receipt
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
