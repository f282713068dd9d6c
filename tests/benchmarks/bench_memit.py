"""MEMIT's z for 50 edits in one batch, against one edit at a time.

    pytest tests/benchmarks/bench_memit.py -m bench --capture=no

The named alternative is the loop as published, written out in `tests/interventions/value_loop.py`:
one edit at a time, whole forward passes, logits at every token. The same code with a batch of
one edit is printed beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rayci.context import Context
from rayci.interventions.editing.edit_contexts import encode_edits
from rayci.interventions.editing.memit import Memit
from rayci.interventions.editing.value_search import find_targets
from rayci.testbed import collection
from tests.interventions.value_loop import one_z
from tests.models import tiny

EDITS = 50
LAYER = 1
TEMPLATES = (
    "{}",
    "The town has a house for the people in it. {}",
    "Therefore they said that it was known to all. {}",
    "Because the fox went home it felt very happy. {}",
    "I have a friend who lives by the river here. {}",
    "You said that the records of the firm show it. {}",
)
SEARCH = Memit(lr=0.1, clamp=1.0).search


def timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Best of two runs, seconds, and the result."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        found = work()
        times.append(time.perf_counter() - start)
    return min(times), found


@pytest.mark.bench
def test_a_batch_of_edits_against_one_by_one() -> None:
    subject, edits = tiny(num_hidden_layers=4), Context(collection(), batch_size=EDITS).edits
    examples = encode_edits(subject.tokenizer, edits, TEMPLATES)
    batched, z = timed(lambda: find_targets(subject, LAYER, examples, SEARCH, EDITS).z)
    single, alone = timed(lambda: find_targets(subject, LAYER, examples, SEARCH, 1).z)
    looped, plain = timed(lambda: torch.stack([one_z(subject, LAYER, edit, TEMPLATES, SEARCH) for edit in edits]))
    print(
        f"\nz of {EDITS} edits, {SEARCH.passes} passes: batch {batched:.2f} s, batches of one {single:.2f} s "
        f"({single / batched:.1f}x), plain loop {looped:.2f} s ({looped / batched:.1f}x)"
    )
    for other in (alone, plain):
        assert ((z - other).norm(dim=1) / other.norm(dim=1)).max() < 1e-3
