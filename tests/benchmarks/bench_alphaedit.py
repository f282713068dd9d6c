"""AlphaEdit against MEMIT on one edit batch, with what both know of ordinary text at hand.

    OMP_NUM_THREADS=1 pytest tests/benchmarks/bench_alphaedit.py -m bench --capture=no

Both search for z with the same settings, so the ratio is that of the formulas beside a search that both have. The
formulas alone stand beside it, in the form that the authors solve as well: a system as wide as the projection's inputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from rayci.context import Context
from rayci.interventions.editing import alphaedit_update, memit_update
from rayci.interventions.editing.alphaedit import AlphaEdit
from rayci.interventions.editing.alphaedit_update import project, protected
from rayci.interventions.editing.memit import Memit
from rayci.model.built_objects import InMemory
from rayci.testbed import collection
from tests.models import tiny

EDITS = 50
SEARCH: dict[str, Any] = {"layers": (0, 1), "lr": 0.1, "clamp": 1.0, "stop_loss": 0.0, "documents": 200}


def best(work: Callable[[], Any]) -> float:
    """The shortest of three runs in seconds of this process, after one that builds what is kept."""
    times = []
    work()
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.bench
def test_a_batch_with_statistics_at_hand() -> None:
    context = replace(Context(collection(), batch_size=EDITS), objects=InMemory())
    memit = Memit.configure(settings={**SEARCH, "covariance_weight": 10.0})
    alphaedit = AlphaEdit.configure(settings={**SEARCH, "null_threshold": 0.03})

    def seconds(made: Memit | AlphaEdit) -> float:
        return best(lambda: tiny(intermediate_size=512).apply(made, context))

    usual, null = seconds(memit), seconds(alphaedit)
    print(f"\n{EDITS} edits: memit {usual:.2f} s, alphaedit {null:.2f} s ({null / usual:.2f}x)")


@pytest.mark.bench
def test_the_formula_alone() -> None:
    inputs, outputs, threshold = 2048, 512, 0.5
    draw = torch.Generator().manual_seed(0)
    text, keys, residual = (
        torch.randn(rows, n, generator=draw) for rows, n in ((inputs, 3 * inputs), (inputs, EDITS), (outputs, EDITS))
    )
    covariance = text @ text.T / text.shape[1]
    basis = protected(covariance, threshold).float()

    def papers() -> Tensor:
        k = keys.double()
        system = project(basis.double(), k @ k.T) + 10.0 * torch.eye(inputs)
        transposed: Tensor = torch.linalg.solve(system, project(basis.double(), k) @ residual.double().T)
        return transposed.T

    null = alphaedit_update.update(basis, keys, residual, 10.0)
    assert (null - papers()).norm() < 1e-9 * null.norm()
    usual = best(lambda: memit_update.update(covariance, keys, residual, 10.0))
    wide, small = best(papers), best(lambda: alphaedit_update.update(basis, keys, residual, 10.0))
    print(
        f"\nΔW of {inputs} inputs: memit {usual:.2f} s, alphaedit {small:.3f} s ({small / usual:.2f}x), "
        f"in the paper's form {wide:.2f} s ({wide / usual:.2f}x), U of {basis.shape[1]} directions"
    )
