"""TIES against a transcription of the paper's three steps, written in NumPy over whole vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rayci.context import Context
from rayci.data.records import Collection
from rayci.errors import RequestError
from rayci.interventions.training.ties import Ties, magnitude_of_rank, merge_agreeing
from rayci.workload import Workload
from tests.interventions.delta_folders import adapted, moved, noise, saved_adapter, saved_difference, saved_model
from tests.models import differing, tiny, weights

CONTEXT = Context(Collection())
NAMES = [f"model.layers.{layer}.mlp.down_proj.weight" for layer in range(3)]


def by_the_paper(vectors: list[dict[str, Tensor]], density: float, shares: list[float]) -> dict[str, Any]:
    """The merged vector: trim, elect, disjoint mean."""
    flat = np.stack([np.concatenate([vector[name].numpy().ravel() for name in NAMES]) for vector in vectors])
    kept = int(flat.shape[1] * density)
    trimmed = np.zeros_like(flat)
    for row, values in enumerate(flat):
        largest = np.argsort(-np.abs(values), kind="stable")[:kept]
        trimmed[row, largest] = values[largest]
    weighted = np.array(shares, dtype=np.float32)[:, None] * trimmed
    agrees = (np.sign(trimmed) == np.sign(weighted.sum(0))) & (trimmed != 0)
    share = (np.array(shares, dtype=np.float32)[:, None] * agrees).sum(0)
    merged = np.divide((weighted * agrees).sum(0), share, out=np.zeros_like(share), where=share > 0)
    sizes = np.cumsum([vectors[0][name].numel() for name in NAMES])[:-1]
    return dict(zip(NAMES, np.split(merged, sizes), strict=True))


@pytest.mark.parametrize(
    ("density", "shares", "scale"),
    [(0.2, [1.0, 1.0, 1.0], 1.0), (0.5, [1.0, 3.0, 0.5], 0.4), (1.0, [1.0, 1.0, 1.0], -1.0)],
)
def test_it_is_the_papers_merge(density: float, shares: list[float], scale: float, tmp_path: Path) -> None:
    subject = tiny()
    before = weights(subject)
    vectors = [noise(subject, seed=seed, size=0.01 * (seed + 1), names=NAMES) for seed in range(3)]
    places = [str(saved_difference(v, tmp_path / str(i), rayci="difference")) for i, v in enumerate(vectors)]
    subject.apply(Ties(sources=tuple(places), density=density, weights=tuple(shares), scale=scale), CONTEXT)
    expected = by_the_paper(vectors, density, shares)
    assert differing(subject, before) == set(NAMES)
    for name in NAMES:
        added = torch.from_numpy(expected[name]).view(before[name].shape)
        torch.testing.assert_close(subject.model.get_parameter(name).detach(), before[name] + scale * added)


def test_forms_are_mixed_and_their_order_does_not_matter(tmp_path: Path) -> None:
    start = tiny()
    whole = saved_model(moved(start, noise(start, names=NAMES)), tmp_path / "whole")
    adapter = saved_adapter(adapted(start, target_modules=["down_proj"], r=2), tmp_path / "adapter")
    part = saved_difference(noise(start, seed=8, names=NAMES[:1]), tmp_path / "part", rayci="difference")
    sources = (str(whole), str(adapter), str(part))
    one, other = tiny(), tiny()
    one.apply(Ties(sources=sources), CONTEXT)
    other.apply(Ties(sources=sources[::-1]), CONTEXT)
    assert set(one.receipts[0].changed) == set(NAMES)
    for name, value in weights(one).items():
        torch.testing.assert_close(value, other.model.get_parameter(name).detach())


@pytest.mark.parametrize("rank", [1, 7, 500, 999, 1000])
def test_the_magnitude_of_a_rank_is_exact(rank: int) -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 1e-3
    values[100:140] = 0.5  # equal ones
    values[200:300] = 0
    expected = float(values.abs().sort(descending=True).values[rank - 1])
    assert magnitude_of_rank(lambda: values.view(10, 10, 10).unbind(), rank) == expected


def test_signs_by_hand() -> None:
    one, two, three = torch.tensor([[3.0, 1.0, -1.0, 0.0], [-1.0, 1.0, 1.0, 0.0], [-1.0, 0.0, 3.0, 0.0]])
    assert merge_agreeing([one, two, three], [1.0, 1.0, 1.0]).equal(torch.tensor([3.0, 1.0, 2.0, 0.0]))
    assert merge_agreeing([one, two, three], [1.0, 2.0, 2.0]).equal(torch.tensor([-1.0, 1.0, 2.0, 0.0]))
    assert merge_agreeing([one, two], [1.0, 3.0]).equal(torch.tensor([0.0, 1.0, 1.0, 0.0]))  # 3 − 3: nobody is elected


def test_settings_that_do_not_fit_are_named() -> None:
    for settings, text in (
        ({"sources": ["a", "b"], "weights": [1]}, "weights has 1 numbers, sources 2 names"),
        ({"sources": ["a", "a"]}, "sources names one twice"),
        ({"sources": ["a"], "weights": [0]}, "weights"),
        ({"density": 0}, "density"),
    ):
        with pytest.raises(RequestError, match=text):
            Ties.configure(settings=settings)


def test_counting_takes_memory_of_its_own(tmp_path: Path) -> None:
    """Of a model of 286 MB whose largest parameter takes 23, 200 MB were held beside it; 112 by `delta`."""
    subject = tiny()
    source = str(saved_difference(noise(subject, names=NAMES), tmp_path / "d", rayci="difference"))
    assert Ties(sources=(source,)).memory(Workload(subject)) == 11 * 4 * 32 * 64
