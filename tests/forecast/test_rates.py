"""What a machine does in a second: measured, written, read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rayci.forecast.rates import PROBE, Rates, measure, save, saved
from rayci.storage import entries

HERE = Rates("a CPU", "cpu", 8 * 10**9, 2e10, 2e10, 1e10, 5e9, 5e-4, 1e9, 5e8, 8 * 10**9, 10**12)
"""Rates by hand."""


def test_a_cpu_is_measured_and_leaves_nothing_behind(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    rates = measure("cpu", tmp_path / "run")
    assert rates.kind == "cpu" and rates.device
    assert rates.bf16 == rates.fp32 > rates.fp64 > 1e8
    assert 1e-6 < rates.block_seconds < 1e-1
    assert min(rates.moved, rates.read, rates.written) > 1e6
    assert rates.memory_bytes == rates.host_bytes > 2**28 and rates.disk_free_bytes > 0
    assert list((tmp_path / "run").iterdir()) == [] and torch.get_num_threads() == threads


@pytest.mark.gpu
def test_a_gpu_is_measured(tmp_path: Path) -> None:
    rates = measure("cuda", tmp_path)
    assert rates.kind == "cuda" and rates.bf16 > rates.fp32 > 1e12 and rates.moved > 1e11


def test_rates_are_a_file_of_the_run(tmp_path: Path) -> None:
    assert saved(tmp_path) == []
    both = [HERE, replace(HERE, device="another")]
    save(both, tmp_path)
    assert saved(tmp_path) == both
    text = (tmp_path / PROBE).read_text()
    (tmp_path / PROBE).write_text(text.replace("another", "changed"))
    assert saved(tmp_path) == []


def test_rates_of_another_version_are_none(tmp_path: Path) -> None:
    (tmp_path / PROBE).write_bytes(entries.encode({"nodes": [{"device": "a CPU"}]}, PROBE))
    assert saved(tmp_path) == []
    assert json.loads((tmp_path / PROBE).read_text())["nodes"]
