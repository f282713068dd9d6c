"""Figures for print: what they show, by hand, and that they are vector, self-contained and the same every time."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from rayci import analysis
from rayci.analysis.page.printed import FIGURES
from rayci.errors import RequestError
from rayci.table import ResultTable, Row
from tests.analysis.synthetic_table import both_orders, row, table

BITS = {0.25: 12.25, 0.5: 8.5, 0.75: 4.75}


def rows() -> list[Row]:
    """ft × wanda and gd × wanda over three sparsities; two edit batches."""
    made = [row("", "mmlu", 0.9), row("", "avg_bits", 16.0), row("", "wmdp", 0.6), row("gd", "wmdp", 0.3)]
    for batch in (0, 1):
        shift = 0.02 * batch
        first, second = {0.25: 0.9, 0.5: 0.6, 0.75: 0.2}, {0.25: 0.8, 0.5: 0.7, 0.75: 0.5}
        later = [{gamma: value + shift for gamma, value in order.items()} for order in (first, second)]
        made += both_orders("ft", "wanda", "edit_success", later[0], later[1], replicate=batch)
        made += [row("ft", "edit_success", 0.95 + shift, replicate=batch)]
        for name, values in (("mmlu", {0.25: 0.88, 0.5: 0.8, 0.75: 0.4}), ("avg_bits", BITS)):
            made += both_orders("ft", "wanda", name, values, values, replicate=batch)
    made += both_orders("gd", "wanda", "wmdp", {0.25: 0.3, 0.5: 0.4, 0.75: 0.5}, {0.25: 0.3, 0.5: 0.3, 0.75: "lost"})
    return made


@pytest.fixture(scope="module")
def small() -> ResultTable:
    return table(rows())


def drawn(small: ResultTable, name: str) -> Any:
    return FIGURES[name](small)


def test_editing_under_compression_shows_means_of_both_orders_and_the_edit_alone(small: ResultTable) -> None:
    axes = drawn(small, "editing_under_compression").axes[0]
    solid, dashed, alone = axes.lines[:3]
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    assert solid.get_ydata() == pytest.approx([0.91, 0.61, 0.21])
    assert dashed.get_ydata() == pytest.approx([0.81, 0.71, 0.51])
    assert alone.get_ydata() == pytest.approx([0.96, 0.96])
    assert axes.get_ylabel() == "ft" and axes.get_xlabel() == "sparsity"


def test_a_lost_point_is_a_gap(small: ResultTable) -> None:
    axes = drawn(small, "unlearning_under_compression").axes[0]
    (dashed,) = (line for line in axes.lines if line.get_linestyle() == "--")
    assert dashed.get_ydata() == pytest.approx([0.3, 0.3, float("nan")], nan_ok=True)


def test_unlearning_under_training_has_a_line_for_each_trainer() -> None:
    taught = both_orders("gd", "relearn", "wmdp", {0.5: 0.4, 2: 0.8}, {0.5: 0.3, 2: 0.3})
    figure = FIGURES["unlearning_under_training"](table([row("gd", "wmdp", 0.3), *taught]))
    solid, dashed, alone = figure.axes[0].lines[:3]
    assert solid.get_ydata() == pytest.approx([0.4, 0.8]) and dashed.get_ydata() == pytest.approx([0.3, 0.3])
    assert figure.axes[0].get_xlabel() == "epochs" and alone.get_ydata() == pytest.approx([0.3, 0.3])
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named[:3] == ["relearn", "unlearn, then train", "train, then unlearn"]


def test_what_lasts_of_unlearning_over_relearning_and_of_edits_after_everything() -> None:
    values = {"": 1.0, "gd": 0.2, "retrain": 0.25, "relearn@0.5": 1.0, "relearn@2": 1.0}
    values |= {
        "gd > relearn@2": 0.8,
        "gd > relearn@0.5": 0.4,
        "retrain > relearn@0.5": 0.3,
        "retrain > relearn@2": 0.35,
    }
    edits = {"ft": 0.9, "ft > relearn@2": 0.7, "ft > rtn@4": 0.5}
    rows = [row(text, "wmdp", value) for text, value in values.items()]
    rows += [row(text, "edit_success", value) for text, value in edits.items()]
    unlearned, edited = FIGURES["what_lasts"](table(rows)).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in unlearned.lines if len(line.get_ydata()) == 3}
    assert drawn == {"not unlearned": [1.0, 1.0, 1.0], "gd": [0.2, 0.4, 0.8], "never knew": [0.25, 0.3, 0.35]}
    (line,) = (line for line in edited.lines if line.get_label() == "ft")
    assert list(line.get_ydata()) == [0.9, 0.5, 0.7]
    assert [tick.get_text() for tick in edited.get_xticklabels()] == ["alone", "rtn 4", "relearn 2"]


def test_nothing_lasts_where_nothing_follows(small: ResultTable) -> None:
    with pytest.raises(RequestError, match="nothing is relearned"):
        FIGURES["what_lasts"](small)


def test_areas_over_average_bits(small: ResultTable) -> None:
    """|a − b| = .1, .1, .3 at 12.25, 8.5, 4.75 bits; the orders cross half way between the first two."""
    axes = drawn(small, "over_average_bits").axes[0]
    between = 3.75 * (0.05 + 0.2)
    assert axes.texts[0].get_text().splitlines()[0] == f"A {between:.2f}"
    assert list(axes.lines[0].get_xdata()) == [4.75, 8.5, 12.25]
    shaded = axes.collections[1].get_paths()[0].vertices
    assert any(point == pytest.approx((10.375, 0.76)) for point in shaded), "the corner where the orders cross"


def test_heat_maps_hold_both_metrics(small: ResultTable) -> None:
    error, sensitivity = drawn(small, "heat_maps").axes[:2]
    assert [text.get_text() for text in sensitivity.texts] == ["0.12"]
    assert error.get_title() == "edit success: order-free error"
    assert [label.get_text() for label in error.get_xticklabels()] == ["ft"]


def test_the_front_is_what_nothing_beats(small: ResultTable) -> None:
    axes = drawn(small, "pareto_front").axes[0]
    assert [text.get_text() for text in axes.texts] == [
        "ft > wanda@0.75", "ft > wanda@0.5", "ft > wanda@0.25", "untouched",
    ]  # fmt: skip


def test_every_kind_of_chain_has_a_look_of_its_own_on_the_front() -> None:
    four = ("ft", "gd", "relearn@1", "rtn@4")
    chains = [" > ".join(chosen) for size in (1, 2) for chosen in itertools.combinations(four, size)]
    rows = [row(text, name, value) for text in ("", *chains) for name, value in (("utility", 0.5), ("avg_bits", 8.0))]
    shown = FIGURES["pareto_front"](table(rows)).axes[0].collections
    looks = {(tuple(dots.get_facecolor()[0]), dots.get_paths()[0].vertices.tobytes()) for dots in shown}
    assert len(shown) == len(looks) == 1 + len(chains)


@pytest.mark.parametrize("name", ["pareto_front", "what_lasts"])
def test_values_of_several_models_are_not_mixed(name: str) -> None:
    values = {"": 0.9, "gd": 0.2, "relearn@1": 0.9, "gd > relearn@1": 0.5}
    rows = [
        row(text, criterion, value, model=model, stage_fingerprint=f"{model} {text}")
        for text, value in values.items()
        for criterion in ("hazard", "utility", "avg_bits")
        for model in ("one", "two")
    ]
    with pytest.raises(RequestError, match="the table holds 2 models"):
        FIGURES[name](table(rows))
    assert FIGURES[name](table([one for one in rows if one.model == "one"])).axes


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_the_same_bytes_with_fonts_and_without_dates(small: ResultTable, suffix: str, tmp_path: Path) -> None:
    first, second = (
        analysis.print_figure(small, "editing_under_compression", tmp_path / f"{name}.{suffix}") for name in "ab"
    )
    data = first.read_bytes()
    assert data == second.read_bytes()
    assert not re.search(rb"CreationDate|dc:date|tIME", data)
    if suffix == "pdf":
        assert b"/FontFile2" in data
    if suffix == "svg":
        assert b"<text" not in data and b"<image" not in data


def test_what_cannot_be_drawn_is_told_with_its_reason(tmp_path: Path) -> None:
    bare = table([row("ft", "edit_success", 0.9)])
    left_out = analysis.print_figures(bare, tmp_path, ["svg"])
    assert set(left_out) == set(FIGURES) and not list(tmp_path.iterdir())
    assert left_out["pareto_front"] == "no front without average bits and general utility"
    with pytest.raises(RequestError, match="no figure 'heatmaps'") as error:
        analysis.print_figure(bare, "heatmaps", tmp_path / "x.svg")
    assert error.value.hint == "heat_maps"
    with pytest.raises(RequestError, match=r"cannot draw into \.gif"):
        analysis.print_figures(bare, tmp_path, ["gif"])
