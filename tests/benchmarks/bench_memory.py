"""Peak memory beyond the model, in bytes of live tensors, as multiples of what the method cannot do without.

pytest tests/benchmarks/bench_memory.py -m bench --capture=no
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rayci import registry
from rayci.context import Context
from rayci.testbed import collection
from tests.memory_meter import peak_of
from tests.models import tiny

pytestmark = pytest.mark.bench
CONTEXT = Context(collection(), batch_size=8)
HIDDEN, INNER, BLOCKS, SEQUENCES, LENGTH, FLOAT = 512, 1024, 4, 64, 128, 4
STATES = SEQUENCES * LENGTH * HIDDEN * FLOAT
"""Hidden states of all calibration text between two blocks."""
HESSIANS = (3 * HIDDEN**2 + INNER**2) * FLOAT
PARTS = 5 * STATES + SEQUENCES * LENGTH * (HIDDEN + INNER) * FLOAT
"""AWQ: states, in and out of attention and MLP, inputs of o and down."""


def llama() -> Any:
    sizes: dict[str, Any] = {"hidden_size": HIDDEN, "intermediate_size": INNER, "num_attention_heads": 8}
    return tiny(**sizes, num_key_value_heads=8, max_position_embeddings=256, num_hidden_layers=BLOCKS)


def report(what: str, peak: int, floor: int, of: str) -> None:
    """Print the peak and its ratio to the floor; the bounds are asserted in tests/interventions/test_memory.py."""
    print(f"\n{what}: {peak / 2**20:.1f} MiB beyond the model, {peak / floor:.2f} times {of} ({floor / 2**20:.1f} MiB)")


@pytest.mark.parametrize(
    ("method", "strength", "floor", "of"),
    [
        ("wanda", 0.5, STATES, "one block's states"),
        ("sparsegpt", 0.5, STATES + HESSIANS, "one block's states and four Hessians"),
        ("gptq", 4, STATES + HESSIANS, "one block's states and four Hessians"),
        ("awq", 4, PARTS, "one block's states and inspected inputs and outputs"),
    ],
)
def test_compressors(method: str, strength: float, floor: int, of: str) -> None:
    subject = llama()
    tokens = CONTEXT.calibration(subject.tokenizer, SEQUENCES, LENGTH)
    settings = {"sequences": SEQUENCES, "length": LENGTH, "forward_batch": 4}
    made = registry.intervention(method).configure("published", strength, settings)
    report(method, peak_of(subject.model, lambda: subject.apply(made, replace(CONTEXT, tokens=tokens))), floor, of)


@pytest.mark.parametrize(
    ("method", "settings", "copies"),
    [
        ("ft", {"layers": (1,), "steps": 2}, 3),
        ("ga", {"last_layers": 1, "samples": 4, "batch": 2, "epochs": 1, "max_tokens": 16}, 3),
        ("rmu", {"layer": 1, "update": 1, "batch": 2, "max_batches": 2, "max_tokens": 16, "retain_tokens": 16}, 4),
    ],
)
def test_training(method: str, settings: dict[str, Any], copies: int) -> None:
    subject = llama()
    made = registry.intervention(method).configure("published", None, settings)
    receipts: list[Any] = []
    peak = peak_of(subject.model, lambda: receipts.append(subject.apply(made, CONTEXT)))
    trained = sum(value.nbytes for value in subject.parameters_of(receipts[0].changed).values())
    of = "gradients and moments of the trained weights" + (" and their frozen copy" if copies > 3 else "")
    report(method, peak, copies * trained, of)
