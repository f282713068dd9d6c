"""Python's share of measuring a stage: what is not spent inside a torch operator, over the wall time of all criteria.

pytest tests/benchmarks/bench_stage_measurement.py -m bench --capture=no

The criteria are those of the quickstart's spec, on a random Llama of 100 million parameters and a cut of the
testbed's data; each is measured twice, as on a second stage, and the second time counts. torch.profiler adds up the
time of every operator without those that it calls; its own cost, the module tree of transformers and all of ours
count as Python.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import LlamaConfig, LlamaForCausalLM

from rayci.context import Context
from rayci.criterion import Criterion, Reading
from rayci.model import loading
from rayci.subject import Subject
from rayci.testbed import collection
from rayci.trials.asked_spec import read_spec
from tests.models import tokenizer

pytestmark = pytest.mark.bench
EDITS, QUESTIONS, DOCUMENTS = 8, 40, 40
SIZES: dict[str, Any] = {
    "vocab_size": 10_000,
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 1,
}
MOST = 0.05


@pytest.fixture(scope="module")
def subject() -> Subject:
    torch.manual_seed(0)
    return loading.wrap(LlamaForCausalLM(LlamaConfig(**SIZES)).eval(), tokenizer())


@pytest.fixture(scope="module")
def context() -> Context:
    data = collection()
    few = replace(
        data, hazard=data.hazard[:QUESTIONS], utility=data.utility[:QUESTIONS], evaluation=data.evaluation[:DOCUMENTS]
    )
    return Context(few, batch_size=EDITS)


def measured(criterion: Criterion, subject: Subject, context: Context) -> tuple[Reading, float, float]:
    """A reading, its wall time and the time inside torch's operators, in seconds."""
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as operators:
        start = time.perf_counter()
        reading = criterion.measure(subject, context)
        wall = time.perf_counter() - start
    inside = sum(operator.self_cpu_time_total for operator in operators.key_averages()) / 1e6
    return reading, wall, inside


def test_share_of_python(subject: Subject, context: Context) -> None:
    parameters = sum(value.numel() for value in subject.model.parameters())
    print(f"\n{parameters / 1e6:.0f} million parameters\n\n| criterion | seconds | outside torch |\n|---|---|---|")
    total = torch_time = 0.0
    for criterion in read_spec("quickstart")[0].measured():
        with torch.no_grad():
            first = criterion.measure(subject, context)
        given = context.with_reference(first.records) if criterion.compares else context
        reading, wall, inside = measured(criterion, subject, given)
        assert criterion.compares or reading.value == first.value
        print(f"| {criterion.name} | {wall:.2f} | {1 - inside / wall:.1%} |")
        total, torch_time = total + wall, torch_time + inside
    print(f"| all | {total:.2f} | {1 - torch_time / total:.1%} |")
    assert 1 - torch_time / total <= MOST
