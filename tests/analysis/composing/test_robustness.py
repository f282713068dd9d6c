"""The robustness score by hand, and where it has no value."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from rayci import analysis
from rayci.analysis.composing.robustness import COLUMNS
from rayci.table import Row
from tests.analysis.synthetic_table import row, step, table

ALONE = [row("", "wmdp", 1.0), row("rtn@4", "wmdp", 0.9), row("relearn@1", "wmdp", 1.0)]
NEVER_KNEW = [row("retrain", "wmdp", 0.2), row("retrain > relearn@1", "wmdp", 0.4)]


def unlearned(at_once: float, quantised: float, relearned: float, seed: int | None = None) -> list[Row]:
    values = {"gd": at_once, "gd > rtn@4": quantised, "gd > relearn@1": relearned}
    return [row(text, "wmdp", value, seed=seed) for text, value in values.items()]


def only(rows: list[Row]) -> pd.Series:
    frame = analysis.robustness(table(rows))
    assert list(frame.columns) == list(COLUMNS) and len(frame) == 1
    return frame.iloc[0]


def test_the_score_is_the_harmonic_mean_of_both() -> None:
    cell = only([*ALONE, *NEVER_KNEW, *unlearned(0.2, 0.6, 0.7)])
    assert cell.q == pytest.approx(0.4 / 0.8)  # of .8 that is forgotten .4 stays so at 4 bits
    assert cell.r == pytest.approx(0.2 / 0.5)  # one that never knew learns .2 while .5 comes back
    assert cell.score == pytest.approx(2 / (1 / 0.5 + 1 / 0.4))
    assert (cell.unlearner, cell.quantiser, cell.bits, cell.relearning, cell.strength) == ("gd", "rtn", 4, "relearn", 1)


def test_nothing_that_comes_back_is_fully_robust() -> None:
    cell = only([*ALONE, *NEVER_KNEW, *unlearned(0.2, 0.1, 0.2)])
    assert (cell.q, cell.r, cell.score) == (1.0, 1.0, 1.0)


def test_what_comes_back_within_the_noise_is_not_back() -> None:
    assert (
        only([*ALONE, *NEVER_KNEW[:1], row("retrain > relearn@1", "wmdp", 0.2), *unlearned(0.2, 0.2, 0.219)]).r == 1.0
    )
    assert (
        only([*ALONE, *NEVER_KNEW[:1], row("retrain > relearn@1", "wmdp", 0.2), *unlearned(0.2, 0.2, 0.221)]).r == 0.0
    )


def test_without_a_model_that_never_knew_half_of_the_score_is_missing() -> None:
    cell = only([*ALONE, *unlearned(0.2, 0.6, 0.7)])
    assert cell.q == pytest.approx(0.5)
    assert pd.isna(cell.r) and pd.isna(cell.score) and cell.reason.startswith("no retrain > relearn in the table")


def test_a_failure_is_a_reason_and_the_model_that_never_knew_stands_for_all_seeds() -> None:
    rows = [*ALONE, *NEVER_KNEW, *unlearned(0.2, 0.6, 0.7, seed=0), *unlearned(0.2, 0.6, 0.45, seed=1)[:2]]
    rows.append(row("gd > relearn@1", "wmdp", "out of memory", seed=1))
    frame = analysis.robustness(table(rows))
    assert frame.seed.tolist() == [0, 1]
    assert frame.r.iloc[0] == pytest.approx(0.4) and pd.isna(frame.r.iloc[1])
    assert frame.reason.iloc[1] == "gd > relearn@1: out of memory"


def test_what_was_not_drawn_stands_for_all_seeds() -> None:
    rows = [row(text, "wmdp", value) for text, value in {"gd": 0.2, "gd > rtn@4": 0.6}.items()]
    rows += [row("gd > relearn@1", "wmdp", value, seed=seed) for seed, value in enumerate((0.7, 0.45))]
    frame = analysis.robustness(table([*ALONE, *NEVER_KNEW, *rows]))
    assert frame.seed.tolist() == [0, 1] and frame.q.tolist() == pytest.approx([0.5, 0.5])
    assert frame.r.tolist() == pytest.approx([0.4, 0.8])


def test_the_model_that_never_knew_may_be_named_with_its_settings() -> None:
    never_knew = [
        replace(one, composition=one.composition.replace("retrain", "retrain{source=b}")) for one in NEVER_KNEW
    ]
    cell = only([*ALONE, *never_knew, *unlearned(0.2, 0.6, 0.7)])
    assert (cell.unlearner, cell.r) == ("gd", pytest.approx(0.4))


def test_a_number_format_has_no_bits() -> None:
    rtn = step("rtn@4", {"grid": "nvfp4"})
    rows = [row([rtn], "wmdp", 0.9, composition="rtn@nvfp4"), *NEVER_KNEW, ALONE[0], ALONE[2]]
    rows += [row([step("gd"), rtn], "wmdp", 0.6, composition="gd > rtn@nvfp4"), *unlearned(0.2, 0.6, 0.7)[::2]]
    cell = only(rows)
    assert (cell.quantiser, cell.q) == ("rtn@nvfp4", pytest.approx(0.5)) and pd.isna(cell.bits)


def test_ordinary_training_is_no_relearning() -> None:
    rows = [row("finetune@1", "wmdp", 1.0), row("gd > finetune@1", "wmdp", 0.3)]
    assert analysis.robustness(table([*ALONE, *unlearned(0.2, 0.6, 0.7)[:2], *rows])).empty
