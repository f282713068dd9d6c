"""The table of what is still known after whatever followed unlearning, and what the command line shows of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rayci import analysis
from rayci.analysis.text.still_known import knowledge, knowledge_tables
from rayci.table import Row
from tests.analysis.synthetic_table import row, step, table


def sweep(seeds: int, **values: float | str) -> list[Row]:
    """gd, then rtn at 8 and 4 bits; the first seed last, as a table may hold them."""
    alone = [row("", "wmdp", 1.0), row("rtn@4", "wmdp", 0.9), row("rtn@8", "wmdp", 1.0)]
    rows = [
        row(chain, "wmdp", values.get(chain.replace(" > ", "_").replace("@", ""), 0.2 + 0.1 * seed), seed=seed)
        for chain in ("gd", "gd > rtn@4", "gd > rtn@8")
        for seed in reversed(range(seeds))
    ]
    return [*alone, *rows]


def test_a_row_per_unlearner_a_column_per_precision_seeds_in_order() -> None:
    pivot = knowledge(analysis.recovered(table(sweep(3, gd=0.2))))
    assert pivot.header == ("unlearner", "unlearned", "rtn 8 bits", "rtn 4 bits")
    assert pivot.rows == (
        ("none", "1.00", "1.00", "0.90"),
        ("gd", "0.20 0.20 0.20", "0.20 0.30 0.40 (12 %)", "0.20 0.30 0.40 (14 %)"),
    )
    assert pivot.notes == ()


def test_many_seeds_show_their_mean_and_ends() -> None:
    pivot = knowledge(analysis.recovered(table(sweep(6, gd=0.2))))
    assert pivot.rows[1][1:3] == ("0.20, 0.20 … 0.20", "0.45, 0.20 … 0.70 (31 %)")


def test_trainings_stand_beside_precisions_from_the_mildest_on() -> None:
    alone = [row(text, "wmdp", 1.0) for text in ("relearn@0.5", "relearn@2")]
    both = [row("gd > relearn@2", "wmdp", 0.8, seed=0), row("gd > relearn@0.5", "wmdp", 0.4, seed=0)]
    pivot = knowledge(analysis.recovered(table([*sweep(1, gd=0.2), *alone, *both])))
    assert pivot.header[2:] == ("rtn 8 bits", "rtn 4 bits", "relearn 0.5 epochs", "relearn 2 epochs")
    assert pivot.rows[1][4:] == ("0.40 (25 %)", "0.80 (75 %)")


def test_a_number_format_is_a_column_of_its_name() -> None:
    rtn = step("rtn@4", {"grid": "nvfp4"})
    rows = [row([rtn], "wmdp", 0.9, composition="rtn@nvfp4")]
    rows += [row([step("gd"), rtn], "wmdp", 0.55, composition="gd > rtn@nvfp4", seed=0)]
    pivot = knowledge(analysis.recovered(table([*sweep(1, gd=0.2), *rows])))
    assert pivot.header[2:] == ("rtn 8 bits", "rtn 4 bits", "rtn@nvfp4")
    assert pivot.rows[1][4] == "0.55 (50 %)"


@pytest.mark.parametrize("known", [0.2, 0.1])
def test_what_is_not_more_than_before_is_not_back(known: float) -> None:
    pivot = knowledge(analysis.recovered(table(sweep(1, gd=0.2, gd_rtn4=known))))
    assert pivot.rows[1][3] == f"{known:.2f} (none back)"


def test_what_is_missing_is_named_once() -> None:
    pivot = knowledge(analysis.recovered(table(sweep(2, gd=0.2, gd_rtn4="out of memory"))))
    assert pivot.rows[1][3] == "– –"
    assert pivot.notes == ("gd > rtn@4: out of memory (gd)",)


@pytest.mark.parametrize("source", ["published:unlearning_quantization"])
def test_metrics_shows_it(source: str) -> None:
    command = [sys.executable, "-m", "rayci", "metrics", source]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "What comes back: verbmem, LLaMA-2-7B on MUSE NEWS\n" in shown
    assert any(line.split()[:2] == ["ga_klr", "14.10"] and "33.80 (98 %)" in line for line in shown.splitlines())


def test_only_the_criteria_that_are_asked_for() -> None:
    held = analysis.load("published:unlearning_quantization").of_model("RWKU's model")
    assert [title for title, _ in knowledge_tables(held, ["rwku_qa", "mmlu"])] == ["rwku_qa"]
    assert list(knowledge_tables(held, ["mmlu"])) == []
