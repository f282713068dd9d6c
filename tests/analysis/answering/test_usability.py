"""A step that alone costs more than a fifth of general utility is told; anything else is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayci import analysis
from rayci.analysis.answering.usability import ruinous_steps
from rayci.table import Row
from tests.analysis.synthetic_table import row, table


def rows(*steps: tuple[str, float], criterion: str = "mmlu", base: float = 0.99) -> list[Row]:
    return [row("", criterion, base), *(row(step, criterion, value) for step, value in steps)]


def test_the_sentence_names_step_criterion_values_and_share() -> None:
    assert ruinous_steps(table(rows(("rmu", 0.64)))) == [
        "rmu alone lowers mmlu from 0.99 to 0.64 (35 %): its settings leave the model unusable; "
        "composability figures with it say little"
    ]


@pytest.mark.parametrize(("value", "told"), [(0.79, True), (0.8, False), (0.81, False), (1.2, False)])
def test_a_fifth_of_the_untouched_models_utility_is_the_limit(value: float, told: bool) -> None:
    assert bool(ruinous_steps(table(rows(("rmu", value), base=1.0)))) == told


def test_replicates_and_seeds_are_averaged() -> None:
    spread = [row("", "mmlu", 1.0), row("ft", "mmlu", 0.6, replicate=0), row("ft", "mmlu", 1.0, replicate=1)]
    assert ruinous_steps(table(spread)) == []
    lower = [*spread, row("ft", "mmlu", 0.7, replicate=2)]
    assert ["to 0.77 (23 %)" in sentence for sentence in ruinous_steps(table(lower))] == [True]


def test_the_worst_comes_first_and_each_strength_stands_for_itself() -> None:
    sentences = ruinous_steps(table(rows(("wanda@0.25", 0.98), ("wanda@0.65", 0.7), ("wanda@0.75", 0.4))))
    assert [sentence.split()[0] for sentence in sentences] == ["wanda@0.75", "wanda@0.65"]


def test_steps_that_nobody_measured_alone_are_not_judged() -> None:
    assert ruinous_steps(table([row("", "mmlu", 1.0), row("ft > rmu", "mmlu", 0.1)])) == []
    assert ruinous_steps(table([row("rmu", "mmlu", 0.1)])) == []  # no untouched model
    assert ruinous_steps(table([row("", "mmlu", 1.0), row("rmu", "mmlu", "out of memory")])) == []


@pytest.mark.parametrize("criterion", ["wmdp", "edit_success", "edit_locality"])
def test_what_a_method_means_to_lower_is_no_utility(criterion: str) -> None:
    assert ruinous_steps(table(rows(("rmu", 0.1), criterion=criterion))) == []


def test_a_prefix_that_is_no_composition_of_its_own_counts_too() -> None:
    prefix = [row("", "mmlu", 1.0, final=False), row("rmu", "mmlu", 0.5, final=False)]
    assert len(ruinous_steps(table(prefix))) == 1


def test_the_report_says_so(tmp_path: Path) -> None:
    page = analysis.report(table(rows(("rmu", 0.64), ("gd", 0.95))), tmp_path).read_text(encoding="utf-8")
    assert "rmu alone lowers mmlu from 0.99 to 0.64 (35 %)" in page
    assert "gd alone" not in page
