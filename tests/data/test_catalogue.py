"""What the catalogue says of every data set holds together, and `rayci data` shows it."""

from __future__ import annotations

from itertools import chain
from pathlib import Path, PurePath

import pytest

from rayci.commands import data_view
from rayci.data.data_set import DataSet
from rayci.data.data_sets import OWN, known_sets
from rayci.data.records import PARTS
from rayci.planning.spec import Spec

SETS = known_sets()
ELSEWHERE = sorted(SETS.keys() - {OWN})


@pytest.fixture(params=SETS)
def known(request: pytest.FixtureRequest) -> DataSet:
    return SETS[request.param]


def test_every_part_has_its_split_and_its_examples(known: DataSet) -> None:
    assert known.licence and known.fetch and known.parts.keys() <= set(PARTS)
    assert {*known.parts.values(), *known.shots.values()} <= known.splits.keys()
    assert known.shots.keys() <= known.parts.keys()


def test_patterns_of_the_hub_stay_in_one_folder(known: DataSet) -> None:
    """The hub takes `*` for folders too: `*/x.json` would fetch the file of every folder."""
    for content in chain(*known.splits.values()):
        assert content.patterns
        assert not any("*" in str(PurePath(pattern).parent) for pattern in content.patterns)


def test_only_published_sets_are_arranged(known: DataSet) -> None:
    assert known.name.endswith("_published") is (known.arranged is not None)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_missing_is_told_with_licence_and_gate(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("RAYCI_DATA", raising=False)
    known = SETS[name]
    part = next(iter(known.parts))
    spec = {"name": "s", "interventions": {"ft": {}}, "criteria": ["sparsity"], "data": {part: name}}
    (told,) = data_view.parts(Spec.model_validate(spec))
    row = told.row
    assert (row["state"], row["licence"]) == ("missing", known.licence)
    assert known.fetch in row["to_do"]
    assert bool(row["gate"]) is (name == "wmdp_corpora")
