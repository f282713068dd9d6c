"""Memory told from shapes, against what the allocator of a GPU hands out."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rayci import registry
from rayci.context import Context
from rayci.testbed import collection
from rayci.workload import Workload
from tests.models import tiny

SEQUENCES, LENGTH = 32, 1024
SIZES: dict[str, Any] = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 8}


@pytest.mark.gpu
@pytest.mark.parametrize(("method", "strength"), [("wanda", 0.5), ("sparsegpt", 0.5), ("gptq", 4), ("awq", 4)])
def test_a_compressor_takes_what_was_foreseen_at_most(method: str, strength: float) -> None:
    subject = tiny(**SIZES, num_key_value_heads=2, max_position_embeddings=LENGTH, num_hidden_layers=3)
    subject.model.to(torch.bfloat16)
    subject.model.to(torch.device("cuda"))
    tokens = torch.randint(subject.vocabulary, (SEQUENCES, LENGTH), generator=torch.Generator().manual_seed(0))
    made = registry.intervention(method).configure("published", strength, {"sequences": SEQUENCES, "length": LENGTH})
    work = Workload(subject)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    receipt = subject.apply(made, Context(collection(), tokens=tokens))
    measured = torch.cuda.max_memory_allocated() - before
    assert not receipt.notes
    assert measured <= made.memory(work) <= 2.5 * (measured + work.weight_bytes)
