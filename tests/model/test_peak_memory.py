"""Peaks of work on a GPU, and that the work before does not count."""

from __future__ import annotations

import pytest
import torch

from rayci.model.peak_memory import PeakMemory


def test_all_gpus_that_are_seen_count(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {0: 50, 1: 70}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda gpu: held.update({gpu: 5}))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda gpu: held[gpu])
    with PeakMemory(torch.device("cuda")) as peak:
        held[1] = 7
    assert peak.bytes == 12
    with PeakMemory(torch.device("cpu")) as none:
        pass
    assert none.bytes is None and held == {0: 5, 1: 7}


@pytest.mark.gpu
def test_only_what_is_held_inside_counts() -> None:
    before = torch.zeros(1 << 26, device="cuda")
    del before
    with PeakMemory(torch.device("cuda")) as peak:
        inside = torch.zeros(1 << 20, device="cuda")
        del inside
    assert peak.bytes is not None and 1 << 22 <= peak.bytes < 1 << 26
