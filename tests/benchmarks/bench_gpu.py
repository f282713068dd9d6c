"""Seconds and peak memory of the methods on a Llama-3-8B-shaped random model in bf16, as a Markdown table.

    pytest tests/benchmarks/bench_gpu.py -m gpu --capture=no
    RAYCI_BENCH_SHAPE=tiny pytest tests/benchmarks/bench_gpu.py -m gpu --capture=no    # anywhere, fp32 on a CPU

Published presets; 128 × 2048 random calibration tokens, 50 edits and forget text of the testbed.
The model is made anew for every method, directly on the device.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from rayci import registry
from rayci.context import Context
from rayci.data.records import Collection, Document
from rayci.intervention import Intervention
from rayci.model import loading
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import tokenizer

EDITS, SEED, GIB = 50, 0, 2**30
METHODS: dict[str, float | None] = {
    "magnitude": 0.5,
    "rtn": 4,
    "wanda": 0.5,
    "sparsegpt": 0.5,
    "gptq": 4,
    "awq": 4,
    "memit": None,
    "rmu": None,
}
"""Method -> strength."""


@dataclass(frozen=True)
class Shape:
    """Sizes of the model and its calibration, and what the published settings need changed for them."""

    model: dict[str, int]
    sequences: int
    length: int
    settings: dict[str, dict[str, Any]]


SHAPES = {
    "llama-3-8b": Shape(
        {
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 128256,
            "max_position_embeddings": 8192,
        },
        sequences=128,
        length=2048,
        settings={},
    ),
    "tiny": Shape(
        {
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": 1152,
            "max_position_embeddings": 256,
        },
        sequences=8,
        length=64,
        settings={
            **dict.fromkeys(("wanda", "sparsegpt", "gptq", "awq"), {"sequences": 8}),  # noqa: RUF024 - only read
            "memit": {"layers": (0, 1), "contexts": ("{}", "The town is old. {}")},
            "rmu": {"max_batches": 4},
        },
    ),
}
NAME = os.environ.get("RAYCI_BENCH_SHAPE", "llama-3-8b")
SHAPE = SHAPES[NAME]
CUDA = torch.cuda.is_available()
DEVICE, DTYPE = (torch.device("cuda"), torch.bfloat16) if CUDA else (torch.device("cpu"), torch.float32)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not CUDA and NAME != "tiny", reason="needs a GPU, or RAYCI_BENCH_SHAPE=tiny"),
]


def model() -> Subject:
    """A random model on the device; its weights are drawn there."""
    torch.manual_seed(SEED)
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    config = LlamaConfig(**SHAPE.model, **ids, rope_parameters={"rope_theta": 500000.0, "rope_type": "default"})  # type: ignore[arg-type]
    with DEVICE:
        made = AutoModelForCausalLM.from_config(config, dtype=DTYPE)
    return loading.wrap(made.eval(), tokenizer())


def context() -> Context:
    """Random calibration tokens; the testbed's edits; its documents joined to texts as long as RMU cuts them."""
    generator = torch.Generator().manual_seed(SEED)
    tokens = torch.randint(SHAPE.model["vocab_size"], (SHAPE.sequences, SHAPE.length), generator=generator)
    data = collection()
    forget = [Document(text, topic) for topic in ("bio", "cyber") for text in _long(data.forget)]
    long: Collection = replace(data, forget=tuple(forget), retain=tuple(map(Document, _long(data.retain))))
    return Context(long, SEED, batch_size=EDITS, tokens=tokens)


def _long(documents: tuple[Document, ...], joined: int = 16, count: int = 64) -> list[str]:
    return [
        " ".join(documents[(start + i) % len(documents)].text for i in range(joined))
        for start in range(0, count * joined, joined)
    ]


def configured(method: str) -> Intervention:
    """The published settings, changed where the shape asks for it."""
    return registry.intervention(method).configure("published", METHODS[method], SHAPE.settings.get(method, {}))


@pytest.fixture(scope="module")
def rows() -> Iterator[list[str]]:
    """Lines of the table, printed in the end."""
    found: list[str] = []
    yield found
    device = torch.cuda.get_device_name() if CUDA else "CPU"
    head = f"{NAME}, {SHAPE.sequences} × {SHAPE.length} tokens, {str(DTYPE).removeprefix('torch.')}, {device}"
    print(f"\n\n{head}\n\n| method | seconds | peak memory, GiB | of it the model |\n|---|---|---|---|")
    print("\n".join(found))


@pytest.mark.parametrize("method", METHODS)
def test_seconds_and_peak_memory(method: str, rows: list[str]) -> None:
    subject, given, made = model(), context(), configured(method)
    held = sum(value.nbytes for value in subject.model.parameters())
    if CUDA:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    receipt = subject.apply(made, given)
    if CUDA:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = f"{torch.cuda.max_memory_allocated() / GIB:.1f}" if CUDA else "–"
    rows.append(f"| {method} | {seconds:.1f} | {peak} | {held / GIB:.1f} |")
    assert receipt.changed
    del subject, receipt
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
