"""Which criteria say something about which methods, and which one is the price."""

from __future__ import annotations

import pytest

from rayci.analysis.answering.aims import concerns, goals, utility_criterion
from rayci.kinds import UNIT_INTERVAL, Direction, Kind, Scale
from tests.analysis.synthetic_table import SCALES


@pytest.mark.parametrize(
    ("criterion", "kinds", "said"),
    [
        ("edit_success", [Kind.EDIT, Kind.COMPRESS], True),
        ("edit_success", ["compress", "unlearn"], False),
        ("hazard", ["edit", "compress"], False),
        ("forget_recall", ["unlearn"], True),
        ("lm_eval:wmdp_bio", ["edit"], False),
        ("retain_recall", ["compress"], True),
        ("mmlu", [], True),
    ],
)
def test_concerns(criterion: str, kinds: list[str], said: bool) -> None:
    assert concerns(criterion, kinds) is said


def test_goals_are_the_first_of_each_kind() -> None:
    held = ["edit_success", "edit_locality", "wmdp", "mmlu"]
    assert goals(held, ["edit", "unlearn"]) == ["edit_success", "wmdp"]
    assert goals(held, ["compress"]) == []


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["perplexity", "wmdp", "mmlu"], "mmlu"),
        (["perplexity", "retain_recall", "fluency"], "retain_recall"),
        (["wmdp", "perplexity"], "perplexity"),
        (["edit_success", "wmdp", "avg_bits"], None),
    ],
)
def test_the_price_is_general_utility(names: list[str], chosen: str | None) -> None:
    scales = {**SCALES, "retain_recall": UNIT_INTERVAL, "avg_bits": Scale(Direction.NONE)}
    assert utility_criterion({name: scales[name] for name in names}) == chosen
