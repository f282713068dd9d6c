"""Batches of criteria grow and shrink with the memory of the device, by what each says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rayci.context import Context
from rayci.criteria.cost import Sparsity
from rayci.criteria.perplexity import Perplexity
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.running import batch_budget
from rayci.running.batch_budget import SPARE, fitted, free_memory
from rayci.running.readings import Readings
from rayci.storage.stages import StageStore
from rayci.testbed import collection
from rayci.workload import Workload
from tests.models import testbed

WORK = Workload(testbed())


def test_the_largest_batch_that_fits_by_the_criterions_own_words() -> None:
    own = Perplexity()
    for free in (own.memory(WORK) // 10, own.memory(WORK) * 2, own.memory(WORK) * 5):
        found = fitted(own, WORK, free)
        doubled = found.model_copy(update={"forward_tokens": 2 * found.forward_tokens})
        assert found.memory(WORK) <= SPARE * free
        assert doubled.memory(WORK) > SPARE * free or doubled.memory(WORK) == found.memory(WORK)
        assert found.identity() == own.identity()
    assert fitted(own, WORK, 10**15).forward_tokens < 2**20, "more than the text holds is no gain"
    assert fitted(own, WORK, 0).forward_tokens >= 1


def test_what_the_spec_says_stands_and_so_does_a_look_at_the_weights() -> None:
    asked = Perplexity(forward_tokens=7)
    assert fitted(asked, WORK, 10**15) is asked
    assert fitted(Sparsity(), WORK, 10**15) == Sparsity()
    assert free_memory(torch.device("cpu"), 1.0) is None


def test_readings_do_not_depend_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Sweep.open(
        Spec.model_validate({"name": "t", "interventions": {"rtn": {"bits": 4}}, "criteria": ["perplexity"]})
    )
    values = []
    for free in (None, 10**6, 10**12):
        monkeypatch.setattr("rayci.running.readings.free_memory", lambda *_, free=free: free)
        readings = Readings(sweep, testbed(), StageStore(tmp_path / str(free)))
        values += [reading.value for reading in readings.measure(sweep.planner.root)]
    assert values == pytest.approx([Perplexity().measure(testbed(), Context(collection())).value] * 3, rel=1e-5)
    assert batch_budget.fitted(Perplexity(), WORK, 10**6) != Perplexity()
