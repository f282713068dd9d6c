"""DARE against a transcription in NumPy; its draws are by source and parameter, and by nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rayci.context import Context
from rayci.data.records import Collection
from rayci.interventions.training.adding import SOURCE
from rayci.interventions.training.dare import Dare
from rayci.subject import Subject
from tests.interventions.delta_folders import noise, saved_difference
from tests.models import differing, tiny, weights

CONTEXT = Context(Collection())
NAMES = [f"model.layers.{layer}.mlp.down_proj.weight" for layer in range(3)]


@pytest.fixture
def places(tmp_path: Path) -> tuple[str, str]:
    one, other = (noise(tiny(), seed=seed, names=NAMES) for seed in (1, 2))
    return (
        str(saved_difference(one, tmp_path / "one", rayci="difference")),
        str(saved_difference(other, tmp_path / "other", rayci="difference")),
    )


def merged(*sources: str, context: Context = CONTEXT, **settings: object) -> Subject:
    subject = tiny()
    subject.apply(Dare.model_validate({"sources": sources, **settings}), context)
    return subject


@pytest.mark.parametrize(("drop", "scale"), [(0.9, 1.0), (0.3, -0.5), (0.0, 1.0)])
def test_it_is_the_papers_merge(drop: float, scale: float, places: tuple[str, str]) -> None:
    subject = merged(*places, drop=drop, scale=scale, weights=(0.25, 0.75))
    vectors = [noise(tiny(), seed=seed, names=NAMES) for seed in (1, 2)]
    for name, before in weights(tiny()).items():
        total = np.zeros(before.shape)
        for place, vector, share in zip(places, vectors, (0.25, 0.75), strict=True):
            if name in vector:
                draws = torch.rand(before.shape, generator=CONTEXT.generator(f"dare {SOURCE.content(place)} {name}"))
                kept = 1 - (draws.numpy() < drop)
                total += share * kept * vector[name].double().numpy() / (1 - drop)
        expected = before.double().numpy() + scale * total
        np.testing.assert_allclose(subject.model.get_parameter(name).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_the_share_that_is_dropped_and_what_is_expected(places: tuple[str, str]) -> None:
    before, subject = weights(tiny()), merged(places[0], drop=0.9)
    added = torch.stack([subject.model.get_parameter(name).detach() - before[name] for name in NAMES])
    vector = torch.stack(list(noise(tiny(), seed=1, names=NAMES).values()))
    assert float((added != 0).float().mean()) == pytest.approx(0.1, abs=0.01)
    torch.testing.assert_close(added[added != 0], 10 * vector[added != 0], rtol=1e-3, atol=1e-5)


def test_what_a_larger_share_keeps_a_smaller_one_keeps_too(places: tuple[str, str]) -> None:
    before = weights(tiny())
    kept = [
        {name: merged(places[0], drop=drop).model.get_parameter(name) != before[name] for name in NAMES}
        for drop in (0.5, 0.9)
    ]
    assert all(bool((kept[0][name] | ~kept[1][name]).all()) for name in NAMES)


def test_the_order_of_sources_and_files_does_not_matter_and_the_seed_does(places: tuple[str, str]) -> None:
    one, other = weights(merged(*places)), merged(*places[::-1])
    for name, value in weights(other).items():
        torch.testing.assert_close(value, one[name], rtol=1e-6, atol=1e-7)
    reseeded = merged(*places, context=dataclasses.replace(CONTEXT, seed=1))
    assert differing(reseeded, one) == set(NAMES)


def test_the_split_of_a_source_over_files_changes_its_identity_alone(places: tuple[str, str]) -> None:
    whole, identity = merged(places[0], drop=0.0), Dare(sources=places[:1]).identity()
    file = Path(places[0]) / "d.safetensors"
    tensors = noise(tiny(), seed=1, names=NAMES)
    file.unlink()
    for index, name in enumerate(reversed(NAMES)):
        save_file({name: tensors[name]}, file.with_name(f"d{index}.safetensors"), {"rayci": "difference"})
    assert not differing(merged(places[0], drop=0.0), weights(whole))
    assert Dare(sources=places[:1]).identity() != identity
