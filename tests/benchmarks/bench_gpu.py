"""Seconds, peak memory and utilisation of the methods on a Llama-3-8B-shaped random model in bf16, as a Markdown table.

    pytest tests/benchmarks/bench_gpu.py -m gpu --capture=no
    RAYCI_BENCH_SHAPE=tiny pytest tests/benchmarks/bench_gpu.py -m gpu --capture=no    # anywhere, fp32 on a CPU

Published presets; 128 × 2048 random calibration tokens, 50 edits and forget text of the testbed. The model is made
anew for every method, directly on the device. Where `make test-oracle` has built its environment, llm-compressor
compresses the same model with the same tokens: 8 sequences at a time and on the device alone, like ours;
with RAYCI_BENCH_BATCH=1 as it does by itself, one by one and with the states between layers on the host.

    utilisation = operations as the method states them, over seconds · peak

The peak is the device's dense bf16 rate; RAYCI_BENCH_PEAK, in TFLOP/s, says that of a device that is not listed.
Operations are those of the model's weights: recomputed activations count once, attention's own products not at all.
MEMIT finds its covariances built. What is sought is printed beside what was found; memory is asserted.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from rayci import registry
from rayci.context import Context
from rayci.data.records import Collection, Document
from rayci.intervention import Intervention
from rayci.model import loading
from rayci.subject import Subject
from rayci.testbed import collection
from rayci.units import GIB
from rayci.workload import Workload
from tests.models import tokenizer
from tests.oracle.llmcompressor_run import PYTHON, Compressed, compress

EDITS, SEED = 50, 0
METHODS: dict[str, float | None] = {
    "magnitude": 0.5,
    "rtn": 4,
    "wanda": 0.5,
    "sparsegpt": 0.5,
    "gptq": 4,
    "awq": 4,
    "memit": None,
    "ga": None,
    "gd": None,
    "rmu": None,
}
"""Method -> strength."""
TIMES_AS_FAST = {"wanda": 2.0, "sparsegpt": 1.5, "gptq": 1.5, "awq": 2.0}
"""What is sought against llm-compressor, which has these methods too."""
SECONDS, UTILISATION = {"memit": 60}, dict.fromkeys(("ga", "gd", "rmu"), 0.4)
"""What is sought of the others."""
PEAKS = {"A100": 312, "H100": 989, "H200": 989, "B200": 2250}
"""Dense bf16 TFLOP/s by what the device's name contains."""


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
            **dict.fromkeys(("ga", "gd"), {"last_layers": 2, "samples": 8}),  # noqa: RUF024 - only read
            "memit": {"layers": (0, 1), "contexts": ("{}", "The town is old. {}")},
            "rmu": {"max_batches": 4},
        },
    ),
}
NAME = os.environ.get("RAYCI_BENCH_SHAPE", "llama-3-8b")
THEIR_BATCH = int(os.environ.get("RAYCI_BENCH_BATCH", 8))
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


class AtHand:
    """Objects of one model, kept without asking which (`rayci.model.built_objects`)."""

    def __init__(self) -> None:
        self.kept: dict[str, Mapping[str, Tensor]] = {}

    def built(self, model: Any, what: Any, build: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        if str(what) not in self.kept:
            self.kept[str(what)] = build()
        return self.kept[str(what)]


def context() -> Context:
    """Random calibration tokens; the testbed's edits; its documents joined to texts longer than methods cut them."""
    generator = torch.Generator().manual_seed(SEED)
    tokens = torch.randint(SHAPE.model["vocab_size"], (SHAPE.sequences, SHAPE.length), generator=generator)
    data = collection()
    forget = [Document(text, topic) for topic in ("bio", "cyber") for text in _long(data.forget)]
    long: Collection = replace(data, forget=tuple(forget), retain=tuple(map(Document, _long(data.retain))))
    return Context(long, SEED, batch_size=EDITS, tokens=tokens, objects=AtHand())


def _long(documents: Sequence[Document], joined: int = 40, count: int = 64) -> list[str]:
    return [
        " ".join(documents[(start + i) % len(documents)].text for i in range(joined))
        for start in range(0, count * joined, joined)
    ]


def configured(method: str) -> Intervention:
    """The published settings, changed where the shape asks for it."""
    cls = registry.intervention(method)
    given = {"sequences": SHAPE.sequences, "length": SHAPE.length} if "length" in cls.model_fields else {}
    return cls.configure("published", METHODS[method], given | SHAPE.settings.get(method, {}))


def release() -> None:
    """Give back what a finished model took."""
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()


def peak_rate() -> float | None:
    """Operations a second that the device's maker names; None where that is not known."""
    device = torch.cuda.get_device_name() if CUDA else ""
    listed = next((rate for name, rate in PEAKS.items() if name in device), None)
    rate = float(os.environ.get("RAYCI_BENCH_PEAK", 0)) or listed
    return None if rate is None else rate * 1e12


@dataclass(frozen=True)
class Applied:
    """What a method took on the device."""

    seconds: float
    peak: int | None
    foreseen: int
    utilisation: float | None


def applied(made: Intervention, given: Context) -> Applied:
    """Apply a method to a fresh model."""
    subject = model()
    work = Workload(subject, edits=EDITS)
    foreseen, operations, rate = work.weight_bytes + made.memory(work), float(made.operations(work)), peak_rate()
    if CUDA:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    receipt = subject.apply(made, given)
    if CUDA:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    assert receipt.changed
    assert not receipt.retries
    assert not any("CUDA graph" in note for note in receipt.notes)
    peak = torch.cuda.max_memory_allocated() if CUDA else None
    return Applied(seconds, peak, foreseen, None if rate is None else operations / seconds / rate)


@pytest.fixture(scope="module")
def rows() -> Iterator[list[str]]:
    """Lines of the table, printed in the end."""
    found: list[str] = []
    yield found
    device = torch.cuda.get_device_name() if CUDA else "CPU"
    head = f"{NAME}, {SHAPE.sequences} × {SHAPE.length} tokens, {str(DTYPE).removeprefix('torch.')}, {device}"
    print(
        f"\n\n{head}\n\n| method | seconds | sought | utilisation | peak, GiB | foreseen | llm-compressor: seconds |",
        end="",
    )
    print(" times as fast | sought | peak, GiB |\n|---|---|---|---|---|---|---|---|---|---|")
    print("\n".join(found))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as files, for the other library."""
    made = tmp_path_factory.mktemp("model")
    subject = model()
    subject.model.save_pretrained(made)
    subject.tokenizer.save_pretrained(made)
    return made


def theirs(method: str, request: pytest.FixtureRequest, tmp_path: Path) -> Compressed | None:
    """The same by llm-compressor, where it has the method and its environment is there."""
    pins_memory = method == "awq"  # which takes a GPU
    if method not in TIMES_AS_FAST or not PYTHON.exists() or (pins_memory and not CUDA):
        return None
    saved: Path = request.getfixturevalue("folder")
    release()
    tokens = context().tokens
    assert tokens is not None
    return compress(saved, tokens, method, tmp_path, device=str(DEVICE), batch=THEIR_BATCH)


def shown(value: float | None, form: str = ".1f") -> str:
    return "–" if value is None else format(value, form)


@pytest.mark.parametrize("method", METHODS)
def test_seconds_and_peak_memory(method: str, rows: list[str], request: pytest.FixtureRequest, tmp_path: Path) -> None:
    other, given, made = theirs(method, request, tmp_path), context(), configured(method)
    if method == "memit":
        applied(made, given)  # builds the covariances
        release()
    own = applied(made, given)
    release()
    gib = [None if peak is None else peak / GIB for peak in (own.peak, own.foreseen, other.peak if other else None)]
    cells = [
        method,
        shown(own.seconds),
        f"< {SECONDS[method]}" if method in SECONDS else "–",
        shown(own.utilisation, ".0%") + (f" (≥ {UTILISATION[method]:.0%})" if method in UTILISATION else ""),
        shown(gib[0]),
        shown(gib[1]),
        shown(other.seconds if other else None),
        shown(other.seconds / own.seconds if other else None),
        shown(TIMES_AS_FAST.get(method)),
        shown(gib[2]),
    ]
    rows.append(f"| {' | '.join(cells)} |")
    if own.peak is not None:
        assert own.peak <= own.foreseen
        assert other is None or other.peak is None or THEIR_BATCH == 1 or own.peak <= other.peak
