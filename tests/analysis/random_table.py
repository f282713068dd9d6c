"""Random result tables with everything that makes analysis hard: holes, seeds, rows that stand for all, infinities."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import numpy as np
from numpy.random import Generator

from rayci.table import ResultTable, Row, StepCell
from tests.analysis.synthetic_table import row, step, table

BOUNDED = {"edit_success": (0, 1), "mmlu": (0, 1), "wmdp": (0, 1), "privleak": (-100, 100)}
SETS = (
    ("ft", "wanda"), ("ft", "rtn"), ("memit", "wanda"), ("ft", "gd"), ("wanda", "gd"), ("ft", "wanda", "gd"),
    ("ft", "rtn", "awq"), ("wanda", "wanda"), ("ft",), ("wanda",), ("gd",),
)  # fmt: skip
GAMMAS = {"wanda": (0.2, 0.35, 0.6), "rtn": (2.0, 3.0, 4.0, 8.0), "awq": (4.0,)}


def random_table(seed: int) -> ResultTable:
    """A table of some hundred to some thousand rows."""
    draw = np.random.default_rng(seed)
    rows = [entry for methods in SETS for entry in _rows_of(methods, draw)]
    rows += [row("", name, draw.uniform(*ends), replicate=k) for name, ends in BOUNDED.items() for k in range(2)]
    return table({(r.stage_fingerprint, r.replicate, r.criterion): r for r in rows}.values())


def _rows_of(methods: tuple[str, ...], draw: Generator) -> Iterator[Row]:
    batches, seeds = int(draw.integers(1, 6)), int(draw.integers(1, 4))
    hidden = draw.random(3) < (0.2, 0.5, 0.5)
    for criterion in ("edit_success", "mmlu", "wmdp", "privleak", "perplexity", "fluency", "avg_bits"):
        if draw.random() < 0.1:
            continue  # not measured
        for order in dict.fromkeys(itertools.permutations(methods)):
            if draw.random() < 0.05:
                continue  # the order never ran
            replicates = [None] if hidden[0] or draw.random() < 0.2 else range(batches)
            drawn = [None] if hidden[1] or draw.random() < 0.2 else range(seeds)
            for steps in _compositions(order, hidden[2]):
                for replicate, drawn_seed in itertools.product(replicates, drawn):
                    if draw.random() > 0.02:
                        yield row(steps, criterion, _value(criterion, steps, draw), replicate, drawn_seed)


def _compositions(order: tuple[str, ...], two_settings: bool) -> Iterator[list[StepCell]]:
    """Every γ of the swept methods, and the settings of one method in two ways where asked."""
    sizes = (64, 128) if two_settings and "awq" in order else (128,)
    for size in sizes:
        for gammas in itertools.product(*(GAMMAS.get(method, (None,)) for method in order)):
            yield [
                step(
                    method if gamma is None else f"{method}@{gamma:g}", {"group_size": size} if method == "awq" else {}
                )
                for method, gamma in zip(order, gammas, strict=True)
            ]


def _value(criterion: str, steps: list[StepCell], draw: Generator) -> float | str:
    if criterion == "avg_bits":
        return next((s.strength + 0.25 for s in steps if s.method == "rtn" and s.strength), 16.0)
    if draw.random() < 0.03:
        return str(draw.choice(["out of memory", "NaN loss"]))
    if criterion == "perplexity":
        hard = json.dumps([s.strength for s in steps]) in ("[null, 0.6]", "[0.6, null]")
        return float("inf") if draw.random() < (0.5 if hard else 0.02) else float(np.exp(draw.uniform(0, 6)))
    low, high = BOUNDED.get(criterion, (2, 9))
    return float(draw.uniform(low, high))
