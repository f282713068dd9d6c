"""The sentences about what quantising and training further bring back."""

from __future__ import annotations

import pytest

from rayci.analysis.answering.brought_back import brought_back
from tests.analysis.synthetic_table import row, step, table

ALONE = [row("rtn@4", "wmdp", 0.9), row("rtn@8", "wmdp", 1.0), row("", "wmdp", 1.0)]
GD = [row("gd", "wmdp", 0.2), row("gd > rtn@4", "wmdp", 0.55), row("gd > rtn@8", "wmdp", 0.24)]
GA = [row("ga", "wmdp", 0.2), row("ga > rtn@4", "wmdp", 0.69), row("ga > rtn@8", "wmdp", 0.3)]
RMU = [row("rmu", "wmdp", 0.2), row("rmu > rtn@4", "wmdp", 0.1), row("rmu > rtn@8", "wmdp", 0.232)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (GD, "Quantisation brings wmdp back: rtn at 4 bits 50 % of what gd took."),
        (RMU, "Quantisation brings hardly any wmdp back: at most 4 % of what rmu took."),
        (RMU[:2], "Quantisation brings hardly any wmdp back: nothing of what rmu took."),
        (
            [*GD, *GA],
            "Quantisation brings wmdp back: rtn at 4 bits 70 % of what ga took, 50 % of what gd took.",
        ),
        (
            [*GD, *RMU],
            "Quantisation brings wmdp back: rtn at 4 bits 50 % of what gd took; at most 4 % of what rmu took.",
        ),
    ],
)
def test_most_that_came_back_of_each_unlearner(rows: list, said: str) -> None:  # type: ignore[type-arg]
    assert brought_back(table([*ALONE, *rows])) == [said]


def test_a_number_format_is_called_by_its_name() -> None:
    rtn = step("rtn@4", {"grid": "nvfp4"})
    rows = [row([rtn], "wmdp", 0.9, composition="rtn@nvfp4"), GD[0]]
    rows += [row([step("gd"), rtn], "wmdp", 0.55, composition="gd > rtn@nvfp4")]
    assert brought_back(table([*ALONE, *rows])) == ["Quantisation brings wmdp back: rtn@nvfp4 50 % of what gd took."]


def test_nothing_is_said_where_nothing_was_unlearned_and_rounded() -> None:
    assert brought_back(table(ALONE)) == []


def test_each_training_has_a_sentence_that_says_which_unlearner_resists() -> None:
    taught = [row("relearn@1", "wmdp", 1.0), row("relearn@4", "wmdp", 1.0)]
    taught += [row("gd > relearn@1", "wmdp", 0.3), row("gd > relearn@4", "wmdp", 0.92)]
    taught += [row("rmu > relearn@1", "wmdp", 0.2), row("rmu > relearn@4", "wmdp", 0.24)]
    assert brought_back(table([*ALONE, *GD, *RMU, *taught]))[1:] == [
        "Training by relearn brings wmdp back: after 4 epochs 90 % of what gd took; at most 5 % of what rmu took."
    ]


def test_names_and_strengths_of_trainers_stand_as_they_are() -> None:
    """A difference has a scale, which is no number of passes; a setting keeps its capitals."""
    delta, name = step("delta@0.5", strength_name="scale"), "delta@0.5{source=Org/B}"
    rows = [row([delta], "wmdp", 1.0, composition=name), GD[0]]
    rows += [row([step("gd"), delta], "wmdp", 0.6, composition=f"gd > {name}")]
    said = "Training by delta{source=Org/B} brings wmdp back: at scale 0.5 50 % of what gd took."
    assert brought_back(table([ALONE[2], *rows])) == [said]
