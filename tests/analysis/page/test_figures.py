"""Figures hold what the curves hold, and draw nothing into a gap."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from rayci import analysis
from rayci.analysis.page.drawing import is_logarithmic, lines
from rayci.analysis.page.figures import curve_figure, figure_dict
from rayci.analysis.page.overview import write_overview
from rayci.analysis.scan.curve import Curve
from rayci.errors import RequestError
from tests.analysis.synthetic_table import SCALES, both_orders, row, table

ROWS = [
    entry
    for k, shift in enumerate((0.0, 0.1))
    for entry in both_orders(
        "ft",
        "wanda",
        "mmlu",
        {0.25: 0.5 + shift, 0.5: "diverged", 0.75: 0.2},
        {0.25: 0.6, 0.5: 0.4, 0.75: 0.3},
        replicate=k,
    )
] + [row("wanda@0.25", "mmlu", 0.7), row("ft", "mmlu", 0.9), row("ft > gd", "mmlu", 0.5), row("gd > ft", "mmlu", 0.4)]


def _curves(size: int, pair: str = "") -> list[Curve]:
    held = [curve for curve in analysis.curves(table(ROWS)) if len(curve.pair) == size]
    return [curve for curve in held if not pair or pair in {variant.label for variant in curve.pair}]


def test_means_bands_gaps_and_references() -> None:
    figure = figure_dict(_curves(2, "wanda"), SCALES["mmlu"], _curves(1))
    named = {trace["name"]: trace for trace in figure["data"] if "name" in trace}
    assert named["ft > wanda"]["y"] == [pytest.approx(0.55), None, pytest.approx(0.2)]
    assert named["ft > wanda"]["connectgaps"] is False
    assert named["ft > wanda: no value"]["x"] == [0.5]
    assert named["ft > wanda: no value"]["text"] == ["diverged"]
    assert set(named) >= {"wanda > ft", "ft alone", "wanda alone"}
    bands = [trace for trace in figure["data"] if "fill" in trace]
    assert len(bands) == 2
    assert figure["layout"]["shapes"][0]["y0"] == 0.25


def test_pairs_without_strength_are_dots_above_their_order() -> None:
    figure = figure_dict(_curves(2, "gd"), SCALES["mmlu"])
    assert [trace["x"] for trace in figure["data"]] == [["ft > gd"], ["gd > ft"]]


def test_plotly_accepts_it() -> None:
    assert curve_figure(_curves(2, "wanda"), SCALES["mmlu"], _curves(1)).to_json()
    with pytest.raises(RequestError):
        curve_figure([], SCALES["mmlu"])


def test_infinite_values_are_marked_not_drawn() -> None:
    rows = both_orders("ft", "wanda", "perplexity", {0.2: 4.0, 0.5: math.inf}, {0.2: 5.0, 0.5: 900.0})
    held = analysis.curves(table(rows))
    assert is_logarithmic(lines(held), SCALES["perplexity"])
    figure = figure_dict(held, SCALES["perplexity"])
    assert figure["layout"]["yaxis"]["type"] == "log"
    assert [trace["text"] for trace in figure["data"] if trace.get("yaxis") == "y2"] == [["infinite"]]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_overview_is_written_whole(tmp_path: Path, suffix: str) -> None:
    path = write_overview(table(ROWS), tmp_path / f"overview.{suffix}")
    assert path.stat().st_size > 5000
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_overview_refuses_what_it_cannot_draw(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="svg"):
        write_overview(table(ROWS), tmp_path / "overview.bmp")
    with pytest.raises(RequestError, match="ft × wanda"):
        write_overview(table(ROWS), tmp_path / "overview.png", pairs=["ft,rtn"])
