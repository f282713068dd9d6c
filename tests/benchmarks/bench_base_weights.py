"""Host memory of workers that keep the untouched weights: mapped from files, and a copy each.

OMP_NUM_THREADS=1 .venv/bin/pytest tests/benchmarks/bench_base_weights.py -m bench --capture=no
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from rayci.model import base_weights, loading
from rayci.model.base_weights import copied, untouched
from tests.models import random_model, tokenizer

WORKERS = 4
FORK = multiprocessing.get_context("fork")


def share_of_memory() -> int:
    """Bytes of this process, pages that several have divided by their number."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def work(folder: Path, way: str, together: Any, found: Any) -> None:
    """Load the model, then keep its weights, each when all others have come as far."""
    model = loading.load(folder).model
    together.wait()
    before = share_of_memory()
    together.wait()
    base = copied(model) if way == "copied" else untouched(folder, "id", model)
    total = sum(float(value.sum()) for value in base.values())
    together.wait()
    found.put((share_of_memory() - before, total))
    together.wait()


@pytest.mark.bench
@pytest.mark.parametrize("half", [False, True], ids=["in the folder's dtype", "in another dtype"])
def test_memory_of_workers(half: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYCI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(base_weights, "MAPPED_FROM", 0)
    model = random_model("llama", hidden_size=512, intermediate_size=1024, num_attention_heads=8, num_hidden_layers=16)
    size = sum(value.nbytes for value in model.parameters())
    (model.half() if half else model).save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    del model
    totals = set()
    for way in ("copied", "mapped"):
        together, found = FORK.Barrier(WORKERS), FORK.Queue()
        workers = [FORK.Process(target=work, args=(tmp_path / "model", way, together, found)) for _ in range(WORKERS)]
        for worker in workers:
            worker.start()
        told = [found.get() for _ in workers]
        for worker in workers:
            worker.join()
        totals |= {total for _, total in told}
        held = sum(own for own, _ in told)
        print(f"\n{WORKERS} workers, {size / 1e6:.0f} MB of weights, {way}: {held / size:.2f} times the weights")
    assert len(totals) == 1
