"""What lasts: what relearning brings back of what was unlearned, and what is left of edits after whatever follows.

On the left a line for every unlearner over the strength of relearning, from the unlearned model on; black dots: the
model that was relearned without unlearning; dashed: one that never knew. On the right a line for every editor, from the
edited model over training and quantising. Means over edit batches and seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rayci.analysis.answering.aims import aim_of
from rayci.analysis.composing.recovered import chains_of, recovered
from rayci.analysis.page.drawing import COLOURS, GREY, better
from rayci.analysis.page.print_style import WIDTH, blank
from rayci.analysis.scan.cells import chosen_criteria, refuse_mixture, scale_of
from rayci.analysis.scan.variant import never_knew
from rayci.errors import RequestError
from rayci.kinds import Kind, Status
from rayci.table import ResultTable


def what_lasts(table: ResultTable) -> Any:
    """The figure; RequestError where nothing is relearned after unlearning and nothing follows an edit, and for
    several models.
    """
    refuse_mixture(table.columns(["model", "recompress"]))
    sides = (_draw_relearned, *_relearned(table)), (_draw_edited, *_edited(table))
    panels = [(draw, criterion, lines) for draw, criterion, lines in sides if lines]
    if not panels:
        raise RequestError("nothing is relearned after unlearning, and nothing follows an edit")
    figure = blank(WIDTH, 2.6)
    for cell, (draw, criterion, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(cell, lines)
        scale = scale_of(table, criterion)
        cell.set_title(f"{criterion.replace('_', ' ')} ({better(scale)})")
        if scale.chance:
            cell.axhline(scale.chance, color=GREY, linewidth=0.5, zorder=0)
        if scale.low is not None and scale.high is not None:
            cell.set_ylim(scale.low - 0.03 * (scale.high - scale.low), scale.high + 0.03 * (scale.high - scale.low))
        cell.grid(axis="y", color="#e8eaee", linewidth=0.5)
        cell.legend(frameon=False, fontsize=6)
    return figure


_Lines = Mapping[str, Mapping[str, float]]
"""Method -> what followed it, in order -> mean of the criterion."""


def _relearned(table: ResultTable) -> tuple[str, _Lines]:
    """The first criterion of forgetting, and its lines over the strength of the relearning that has most of them."""
    frame = recovered(table)
    frame = frame[frame["relearns"] & frame["strength"].notna()]
    if frame.empty:
        return "", {}
    criterion, relearning = frame["criterion"].iloc[0], frame["then"].value_counts().index[0]
    frame = frame[(frame["criterion"] == criterion) & (frame["then"] == relearning)]
    alone = frame.groupby("strength")["then_alone"].mean()
    lines = {"": {"0": float(frame["untouched"].mean()), **{f"{x:g}": y for x, y in alone.items()}}}
    for name, own in frame.groupby("unlearner", sort=False):
        after = own.groupby("strength")["unlearned_then"].mean()
        lines[str(name)] = {"0": float(own["unlearned"].mean()), **{f"{x:g}": y for x, y in after.items()}}
    return str(criterion), lines


def _edited(table: ResultTable) -> tuple[str, _Lines]:
    """The first criterion of editing, and what is left of it after everything that followed each editor."""
    criterion = next((name for name in chosen_criteria(table, None) if aim_of(name) is Kind.EDIT), "")
    rows = table.arrow.filter(pc.field("final") & (pc.field("criterion") == criterion))
    chains = chains_of(rows, Kind.EDIT)
    means = _means(rows, {name for chain in chains for name in (chain.first, chain.composition)})
    lines: dict[str, dict[str, float]] = {}
    for chain in sorted(chains, key=lambda chain: (chain.first, *chain.rank[1:])):
        step = chain.method if chain.strength is None else f"{chain.method} {chain.strength:g}"
        if chain.first in means and chain.composition in means:
            lines.setdefault(chain.first, {"alone": means[chain.first]})[step] = means[chain.composition]
    return criterion, lines


def _means(rows: pa.Table, compositions: Iterable[str]) -> dict[str, float]:
    asked = pc.field("composition").isin(pa.array(compositions, pa.string()))
    held = rows.filter(asked & (pc.field("status") == Status.OK.value))
    grouped = held.group_by("composition").aggregate([("value", "mean")]).to_pylist()
    return {row["composition"]: row["value_mean"] for row in grouped}


def _draw_relearned(cell: Any, lines: _Lines) -> None:
    colours = iter(COLOURS * len(lines))
    for name, values in lines.items():
        if not name:
            said, colour, style = "not unlearned", "black", "o:"
        elif never_knew(name):
            said, colour, style = "never knew", GREY, "o--"
        else:
            said, colour, style = name, next(colours), "o-"
        above = 3 if colour == GREY else 2  # what learns nothing may hide behind what forgot for good
        line = {"color": colour, "markerfacecolor": "white", "label": said, "zorder": above}
        cell.plot(list(values), list(values.values()), style, **line)
    cell.set_xlabel("epochs of relearning")


def _draw_edited(cell: Any, lines: _Lines) -> None:
    steps = list(dict.fromkeys(step for values in lines.values() for step in values))
    for (name, values), colour in zip(lines.items(), COLOURS * len(lines), strict=False):
        places = [steps.index(step) for step in values]
        cell.plot(places, list(values.values()), "o-", color=colour, markerfacecolor="white", label=name)
    cell.set_xticks(range(len(steps)), steps, rotation=30)
