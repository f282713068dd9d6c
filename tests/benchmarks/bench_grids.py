"""Rounding to number formats against rounding to levels a scale apart: ratios of times in one run.

pytest tests/benchmarks/bench_grids.py -m bench --capture=no
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import pytest
import torch

from rayci.context import Context
from rayci.interventions.compression.number_formats import FORMATS
from rayci.interventions.compression.rtn import RoundToNearest
from rayci.model import modules
from rayci.subject import Subject
from rayci.testbed import collection
from tests.models import tiny

pytestmark = pytest.mark.bench
PAIRS = 9
CONTEXT = Context(collection())


def llama() -> Subject:
    """A random Llama of 32 million weights in its linears."""
    sizes: dict[str, Any] = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 8}
    return tiny(**sizes, num_key_value_heads=8, max_position_embeddings=256, num_hidden_layers=2)


def seconds(subject: Subject, quantiser: RoundToNearest) -> float:
    """Of the linears alone; the model is random again before."""
    for _, module in subject.linears():
        torch.nn.init.normal_(modules.weight(module), std=0.02)
    start = time.perf_counter()
    quantiser.apply(subject, CONTEXT)
    return time.perf_counter() - start


@torch.no_grad()
@pytest.mark.parametrize("name", FORMATS)
def test_rounding_to_a_number_format(name: str) -> None:
    torch.set_num_threads(1)
    subject, asked = llama(), RoundToNearest.configure(strength=name)
    ratios = []
    for _ in range(PAIRS):
        plain = seconds(subject, RoundToNearest(bits=4))
        ratios.append(seconds(subject, asked) / plain)
    median, spread = statistics.median(ratios), f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"\nrtn@{name} takes {median:.2f} times as long as rtn@4 ({spread})")
