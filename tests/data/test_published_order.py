"""Sets that stand in a published order: batches are taken of it as it is, and the sweep's identity says so."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from rayci.context import edit_batch
from rayci.data import collect
from rayci.data.records import Collection
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from tests.data import real_schemas as real


def rows(count: int) -> list[dict[str, object]]:
    return [real.ZSRE[0] | {"alt": f"river {number}"} for number in range(count)]


def published(name: str, path: Path) -> Collection:
    return collect({"edits": {"source": name, "path": str(path)}}, "any")


def targets(data: Collection, batch: int, size: int, seed: int = 0) -> list[str]:
    return [edit.target_new for edit in edit_batch(data, seed, batch, size)]


def test_zsre_published_is_the_train_file_shuffled_as_python_does_with_seed_100(tmp_path: Path) -> None:
    real.array(tmp_path / "zsre_mend_train.json", rows(100))
    real.array(tmp_path / "zsre_mend_eval.json", rows(3))
    expected = [f"river {number}" for number in range(100)]
    state = random.getstate()
    random.seed(100)
    random.shuffle(expected)
    random.setstate(state)
    data = published("zsre_published", tmp_path)
    for seed in (0, 7):
        assert targets(data, 0, 50, seed) == expected[:50]
        assert targets(data, 1, 50, seed) == expected[50:]
    assert expected[:5] == ["river 57", "river 76", "river 27", "river 11", "river 17"]


def test_rows_without_use_are_shuffled_too_and_those_after_them_move_up(tmp_path: Path) -> None:
    given = [row | {"alt": ""} if number in (57, 27) else row for number, row in enumerate(rows(100))]
    path = real.array(tmp_path / "zsre_mend_train.json", given)
    assert targets(published("zsre_published", path), 0, 3) == ["river 76", "river 11", "river 17"]


def test_counterfact_published_is_the_file_in_its_order(tmp_path: Path) -> None:
    flat = [real.COUNTERFACT_FLAT[0] | {"target_new": f"town {number}"} for number in range(6)]
    real.array(tmp_path / "counterfact-edit.json", flat)
    data = published("counterfact_published", tmp_path)
    assert targets(data, 1, 3) == ["town 3", "town 4", "town 5"]


def test_mquake_published_edits_the_first_fact_and_asks_for_the_first_hop(tmp_path: Path) -> None:
    real.array(tmp_path / "MQuAKE-CF-3k.json", real.MQUAKE)
    one, several = edit_batch(published("mquake_published", tmp_path), 0, 0, 2)
    assert one == several and one.target_new == "harp" and one.portability == ()
    assert [asked.answer for asked in one.locality] == ["flute"]  # the old fact, as published


def test_a_limit_takes_the_first_of_a_published_order(tmp_path: Path) -> None:
    path = real.array(tmp_path / "zsre_mend_train.json", rows(100))
    data = collect({"edits": {"source": "zsre_published", "path": str(path), "limit": 2}}, "any")
    assert [edit.target_new for edit in data.edits] == ["river 57", "river 76"]


def test_other_sets_are_shuffled_by_the_seed_of_the_sweep(tmp_path: Path) -> None:
    path = real.array(tmp_path / "zsre_mend_train.json", rows(100))
    data = collect({"edits": {"source": "zsre", "path": str(path)}}, "any")
    assert not data.arranged and targets(data, 0, 50) != targets(data, 0, 50, seed=1)


@pytest.mark.parametrize("kept", [True, False])
def test_the_order_is_part_of_the_identity_of_the_sweep(kept: bool, tmp_path: Path) -> None:
    path = real.array(tmp_path / "zsre_mend_train.json", rows(4))
    spec = Spec.model_validate(
        {"name": "s", "model": "testbed", "interventions": {"ft": {}}, "criteria": ["edit_success"], "edit_batch": 2}
    )
    data = published("zsre_published", path)
    other = data if kept else replace(data, arranged=frozenset())
    parts = [Sweep(spec, path, each).part("edits", None) for each in (data, other)]
    assert (parts[0] == parts[1]) is kept
