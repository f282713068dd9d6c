"""`llama3_8b`: tables 8–14 of arXiv 2407.06483.

Llama-3-8B, means over 10 batches of 50 zsRE edits, printed to two decimals. A cell that is not legible in the
source is a row with status `skipped`; nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from rayci.analysis.scan.published_rows import Paper, step
from rayci.kinds import UNIT_INTERVAL, Direction, Kind, Recompress, Scale
from rayci.table import Row, StepCell

ILLEGIBLE = "not legible in the source"
SCALES = {
    "edit_success": UNIT_INTERVAL,
    "edit_generalization": UNIT_INTERVAL,
    "edit_locality": UNIT_INTERVAL,
    "avg_bits": Scale(Direction.NONE, 0.0, None, None, "bits per weight"),
    "wmdp": Scale(Direction.LOWER, 0.0, 1.0, 0.25, "share"),
    "mmlu": Scale(Direction.HIGHER, 0.0, 1.0, 0.25, "share"),
    "wikitext_ppl": Scale(Direction.LOWER, 1.0, None, logarithmic=True),
}
_METHODS = {
    "FT": (Kind.EDIT, None),
    "MEMIT": (Kind.EDIT, None),
    "LoRA": (Kind.EDIT, None),
    "SparseGPT": (Kind.COMPRESS, "sparsity"),
    "Wanda": (Kind.COMPRESS, "sparsity"),
    "GPTQ": (Kind.COMPRESS, "bits"),
    "AWQ": (Kind.COMPRESS, "bits"),
    "GA": (Kind.UNLEARN, None),
    "GD": (Kind.UNLEARN, None),
    "RMU": (Kind.UNLEARN, None),
}
_REFITTED = frozenset({"sparsegpt", "wanda", "gptq"})
"""Compressors that the paper's code ran again after a later edit or unlearning; AWQ it did not."""
_MONTH = datetime(2024, 7, 1, tzinfo=UTC)


def rows(name: str, records: Iterable[Mapping[str, str]]) -> Iterator[Row]:
    """Every cell of every record as a row."""
    paper = Paper(name, Recompress.PUBLISHED, _MONTH)
    for record in records:
        named = (_step(record["first"], record["first_gamma"]), _step(record["second"], record["second_gamma"]))
        asked = [cell for cell in named if cell]
        chain = [*asked, *_refits(asked)]
        for criterion, scale in SCALES.items():
            printed = record[criterion].strip()
            value = float(printed) if printed else None
            place = f"table {record['table']}"
            yield paper.row(place, "Llama-3-8B", asked, chain, criterion, scale.direction, value, ILLEGIBLE)


def _step(method: str, gamma: str) -> StepCell | None:
    if not method:
        return None
    kind, strength_name = _METHODS[method]
    return step(kind, method.lower(), strength_name, float(gamma) if gamma else None)


def _refits(steps: list[StepCell]) -> list[StepCell]:
    """The re-compression that the paper's code ran, unseen, after compressor → editor or unlearner."""
    if len(steps) < 2 or steps[0].method not in _REFITTED:
        return []
    first = steps[0]
    return [step(first.kind, first.method, first.strength_name, first.strength, recompression="refit")]
