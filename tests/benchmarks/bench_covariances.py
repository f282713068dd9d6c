"""MEMIT's covariances: how often a grid builds them, how long one takes, and what it would on a GPU.

    OMP_NUM_THREADS=1 .venv/bin/pytest tests/benchmarks/bench_covariances.py -m bench --capture=no    # on a CPU
    .venv/bin/pytest tests/benchmarks/bench_covariances.py -m gpu --capture=no                        # on a GPU
    RAYCI_BENCH_SHAPE=tiny .venv/bin/pytest tests/benchmarks/bench_covariances.py -m gpu --capture=no # tries it

The alternative, `built_before`, is how they were built: documents as they are drawn, in every process for every model,
fp32 products. Wikipedia's lengths stand for any text: lognormal, of 480 tokens in the mean.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rayci.interventions.activation_hooks import on_input, on_output, run, stop
from rayci.interventions.editing.key_covariances import covariances
from rayci.interventions.editing.memit import Memit
from rayci.model import modules
from rayci.model.encoding import chunks
from rayci.model.shapes import sketch
from rayci.planning import plan, spec
from rayci.subject import Subject
from rayci.workload import Workload
from tests.benchmarks.bench_gpu import CUDA, NAME, model
from tests.models import tiny

PUBLISHED = Path(__file__).parents[2] / "trials" / "specs" / "published_llama3_8b.yaml"
MEAN, SPREAD, BATCH = 480, 1.0, 16
FP32, BF16 = 0.9 * 19.5e12, 0.4 * 312e12
"""Operations a second that an A100 reaches in large products of fp32, and in a model in bf16."""


def documents(count: int, longest: int, words: int, mean: float = MEAN) -> list[list[int]]:
    draw = random.Random(0)
    centre = torch.tensor(mean).log().item() - SPREAD**2 / 2
    lengths = [min(longest, max(2, round(draw.lognormvariate(centre, SPREAD)))) for _ in range(count)]
    return [[draw.randrange(words) for _ in range(length)] for length in lengths]


@torch.no_grad()
def built_before(subject: Subject, layers: Sequence[int], rows: Sequence[list[int]], batch: int) -> dict[int, Tensor]:
    sums: dict[int, Tensor] = {}
    tokens = 0
    for part in chunks(rows, batch):
        real = torch.tensor([[i < len(row) for i in range(max(map(len, part)))] for row in part])
        tokens += int(real.sum())

        def add(hidden: Tensor, layer: int, real: Tensor = real) -> Tensor:
            keys = hidden.flatten(0, -2)[real.flatten().to(hidden.device)].float()
            sums[layer] = sums[layer].addmm_(keys.T, keys) if layer in sums else keys.T @ keys
            return hidden

        with ExitStack() as hooks:
            for layer in layers:
                projection = modules.dense(subject.block(layer), subject.paths.mlp_out)
                hooks.enter_context(on_input(projection, partial(add, layer=layer)))
            hooks.enter_context(on_output(subject.block(max(layers)), stop))
            run(subject.model, part)
    return {layer: (value / tokens).cpu() for layer, value in sums.items()}


def timed(build: Any, *arguments: Any) -> tuple[float, dict[int, Tensor]]:
    start = time.perf_counter()
    found = build(*arguments)
    return time.perf_counter() - start, found


def compared(subject: Subject, layers: Sequence[int], rows: list[list[int]], tolerance: float) -> None:
    before, expected = timed(built_before, subject, layers, rows, BATCH)
    now, found = timed(covariances, subject, layers, rows, BATCH)
    worst = max(float((found[at] - expected[at]).norm() / expected[at].norm()) for at in layers)
    print(
        f"\n{len(rows)} documents, {sum(map(len, rows))} tokens: {before:.1f} s as before, {now:.1f} s now, "
        f"{before / now:.1f} times as fast; relative difference {worst:.1e}"
    )
    assert worst < tolerance


@pytest.mark.bench
def test_one_build_on_a_cpu() -> None:
    sizes: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 896, "num_attention_heads": 4}
    subject = tiny(**sizes, num_hidden_layers=6, max_position_embeddings=1024)
    compared(subject, (1, 2), documents(320, 512, 1000, mean=60), 1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not CUDA and NAME != "tiny", reason="needs a GPU, or RAYCI_BENCH_SHAPE=tiny")
def test_one_build_on_a_gpu() -> None:
    """Batches of other shapes round halves elsewhere, so C is that of before within what bf16 activations are."""
    subject, tiny_one = model(), NAME == "tiny"
    rows = documents(40, 128, 1000, mean=32) if tiny_one else documents(1000, 4096, subject.vocabulary)
    compared(subject, (0, 1) if tiny_one else (4, 5, 6, 7, 8), rows, 1e-3 if CUDA else 1e-5)


def padding(rows: Sequence[Sequence[int]]) -> float:
    """Tokens that pass the model for each real one."""
    return sum(len(part) * max(map(len, part)) for part in chunks(rows, BATCH)) / sum(map(len, rows))


@pytest.mark.bench
def test_the_published_grid_by_arithmetic() -> None:
    """Builds from the plan, hours from operations: 9 of 32 blocks, and a product of 14336 channels in five layers."""
    made = plan.make(spec.load(PUBLISHED))
    edits = [stage for stage in made.stages.values() if stage.built is not None]
    models = {stage.built for stage in edits}
    work, memit = Workload(sketch("meta-llama/Meta-Llama-3-8B", dtype="bfloat16").subject), Memit()
    rows = documents(20_000, memit.max_tokens, 2)
    tokens = memit.documents * sum(map(len, rows)) / len(rows)
    forward = work.forward_operations(tokens, work.depth(memit.layers[-1]))
    products = 2 * tokens * len(memit.layers) * work.inner**2
    drawn, ordered = padding(rows), padding(sorted(rows, key=len, reverse=True))
    before = (forward * drawn / BF16 + products / FP32) / 3600
    now = (forward * ordered + products) / BF16 / 3600
    print(
        f"\n{len(edits)} MEMIT stages on {len(models)} models; {tokens:.2g} tokens, with padding {drawn:.2f} times as "
        f"many as drawn, {ordered:.3f} sorted\none build: {before:.2f} A100-hours before, {now:.2f} now\n"
        f"the grid: {len(edits)} builds, {len(edits) * before:.0f} h before; {len(models)} builds, "
        f"{len(models) * now:.0f} h now"
    )
    assert (len(edits), len(models)) == (260, 26)
