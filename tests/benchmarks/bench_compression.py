"""Compressors against the plain way of doing the same: ratios of times in one run.

pytest tests/benchmarks/bench_compression.py -m bench --capture=no
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from rayci.context import Context
from rayci.interventions.compression.awq import AWQ
from rayci.interventions.compression.awq_clip import clip_bounds
from rayci.interventions.compression.grid import activation_aware, asymmetric
from rayci.interventions.compression.hessian import Curvature, hessians
from rayci.interventions.compression.hqq import HalfQuadratic
from rayci.interventions.compression.layerdrop import LayerDrop, influence
from rayci.interventions.compression.lowest import lowest_in_matrix
from rayci.interventions.compression.walk import walk
from rayci.subject import Subject
from rayci.testbed import collection
from tests.interventions import awq_naive as naive
from tests.interventions.surgery import correlated, random
from tests.models import tiny

pytestmark = pytest.mark.bench
GROUP, BITS = 128, 4


def llama(layers: int = 1) -> Subject:
    """A random Llama of 512 channels, wide enough for arithmetic to dominate."""
    sizes: dict[str, Any] = {"hidden_size": 512, "intermediate_size": 1024, "num_attention_heads": 8}
    return tiny(**sizes, num_key_value_heads=8, max_position_embeddings=256, num_hidden_layers=layers)


def seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """The shortest of several runs."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def report(what: str, plain: float, ours: float) -> None:
    """Print both times and their ratio; nothing is asserted of them, machines differ."""
    print(f"\n{what}: {plain:.3f} s against {ours:.3f} s, {plain / ours:.1f} times")


def test_linears_with_one_input_share_statistics_and_factor() -> None:
    subject = llama()
    tokens = Context(collection()).calibration(subject.tokenizer, 16, 128)
    inputs = next(walk(subject, tokens, 8))
    alone = replace(inputs, groups=tuple((path,) for group in inputs.groups for path in group))

    def run(given: Any) -> None:
        for path, hessian in hessians(given).items():
            Curvature.of(path, hessian, 0.01).factor()

    shared, own = hessians(inputs), hessians(alone)
    for group in inputs.groups:
        assert all(torch.equal(own[path], shared[group[0]]) for path in group)
    report(
        "Hessians and factors, 7 linears each its own, or 4 inputs",
        *map(seconds, (lambda: run(alone), lambda: run(inputs))),
    )


def test_selection_of_the_lowest() -> None:
    scores = random(2048, 128, 0).square()

    def plain() -> torch.Tensor:
        flat = scores.flatten()
        lowest = flat.sort(stable=True).indices[: len(flat) // 2]
        return torch.zeros_like(flat, dtype=torch.bool).index_fill_(0, lowest, True).view_as(scores)

    def ours() -> torch.Tensor:
        return lowest_in_matrix(scores, 0.5)

    assert ours().equal(plain())
    report("half of a SparseGPT block of 2048 rows, stable sort or selection", seconds(plain), seconds(ours))


def test_gram_matrices_in_the_clip_search() -> None:
    weight, inputs = random(512, 512, 0), correlated(512, 0, 1024)

    def ours() -> torch.Tensor:
        return clip_bounds(
            weight, inputs[::2], GROUP, lambda w: activation_aware(w, BITS, GROUP, symmetric=False).round(w)
        )

    def plain() -> torch.Tensor:
        return naive.search_clip(weight, inputs, BITS, GROUP)

    same = float((ours() == plain()).double().mean())
    print(f"\nequal bounds: {same:.2%}")
    assert same > 0.999
    report("AWQ clip search, loop over candidates or Gram matrices", seconds(plain, 1), seconds(ours))


@pytest.mark.parametrize("duo", [True, False], ids=["duo", "plain"])
def test_the_whole_of_awq(duo: bool) -> None:
    context = Context(collection())
    tokens = context.calibration(llama().tokenizer, 16, 128)
    awq = AWQ(bits=BITS, duo_scaling=duo, sequences=16, length=128, forward_batch=2)
    subjects = [llama(), llama()]
    plain = seconds(lambda: naive.awq(subjects[0], tokens, BITS, GROUP, duo=duo), 1)
    ours = seconds(lambda: subjects[1].apply(awq, context), 1)
    then = dict(subjects[0].model.named_parameters())
    same = [
        torch.isclose(value, then[name], rtol=1e-3).flatten() for name, value in subjects[1].model.named_parameters()
    ]
    share = float(torch.cat(same).double().mean())
    print(f"\nequal weights: {share:.2%}")
    assert share > 0.999
    report(f"AWQ of one block, duo_scaling {duo}, loops or ours", plain, ours)


def test_influences_of_blocks_on_a_walk() -> None:
    tokens = Context(collection()).calibration(llama().tokenizer, 16, 128)
    subject, subjects = llama(4), iter([llama(4) for _ in range(3)])
    found: list[dict[str, float]] = []

    @torch.no_grad()
    def whole_passes() -> list[float]:
        sums = torch.zeros(4)
        for batch in tokens.split(8):
            states = subject.model(batch, output_hidden_states=True, use_cache=False).hidden_states[:-1]
            sums[:3] += torch.stack([influence(*pair).sum() for pair in pairwise(states)])
        return (sums / tokens.numel()).tolist()

    def walked() -> None:
        made = LayerDrop(blocks=1, sequences=16, length=128)
        receipt = next(subjects).apply(made, Context(collection(), tokens=tokens))
        found.append({name: value for name, value in receipt.counts.items() if name.endswith("influence")})

    plain, ours = seconds(whole_passes), seconds(walked)
    # The last of their states is normed: the last block's influence cannot be told from them.
    assert list(found[0].values())[:3] == pytest.approx(whole_passes()[:3], rel=1e-4)
    report("block influences of 4 blocks, passes of the whole model or layerdrop", plain, ours)


def test_zeros_between_the_levels() -> None:
    weight, made = random(1024, 1024, 0) * 0.02, HalfQuadratic(bits=BITS)

    def plain() -> torch.Tensor:
        groups = weight.view(len(weight), -1, GROUP)
        low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
        steps, beta, least = 15 / (high - low), made.beta, torch.inf
        zero = -low * steps
        for _ in range(made.iterations):
            codes = torch.round(groups * steps + zero).clamp(0, 15)
            back = (codes - zero) / steps
            off = groups - back
            shrunk = torch.sign(off) * torch.relu(off.abs() - off.abs().pow(made.p - 1) / beta)
            zero = torch.mean(codes - (groups - shrunk) * steps, -1, keepdim=True)
            beta, error = beta * made.kappa, float(off.abs().mean())
            if error >= least:
                break
            least = error
        return zero.squeeze(-1)

    ours = made.grid(weight, GROUP).zero
    assert ours is not None and ours.equal(plain())
    report("hqq's zeros of 1024 × 1024, powers taken or not", seconds(plain), seconds(lambda: made.grid(weight, GROUP)))
    report(
        "hqq against rounding to nearest",
        seconds(lambda: made.grid(weight, GROUP).round(weight)),
        seconds(lambda: asymmetric(weight, BITS, GROUP).round(weight)),
    )
