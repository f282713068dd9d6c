"""What is still known after unlearning and what followed: a row per unlearner, a column per precision or training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rayci.analysis.composing.recovered import recovered
from rayci.analysis.text.tables import Pivot, records_of, short
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

LEGEND = (
    "Values in the order of their edit batches and seeds. In brackets how much is back, on average, of what the model"
    " knows that was quantised, or trained further, without unlearning, and the unlearned one had lost; none back: no"
    " more is known than right after unlearning."
)
AT_ONCE = "unlearned"
_SHOWN = 5
"""Most values that stand in a cell one by one; of more, the mean and the ends."""


def knowledge_tables(table: ResultTable, criteria: Sequence[str] = ()) -> Iterator[tuple[str, Pivot]]:
    """(criterion, with its model where there are several; its table); none where nothing follows unlearning.

    `criteria`: only those of them that say what was forgotten; all where none is named.
    """
    frame = recovered(table)
    models = frame["model"].nunique()
    for (model, criterion), part in frame.groupby(["model", "criterion"], sort=False):
        if not criteria or criterion in criteria:
            yield f"{criterion}, {model}" if models > 1 else str(criterion), knowledge(part)


def knowledge(frame: pd.DataFrame) -> Pivot:
    """`recovered` of one model and criterion: its values after everything that followed, and the share that came back.

    Without rows where the frame has none.
    """
    records = records_of(frame)
    if not records:
        return Pivot((), (), ())
    followed = sorted({_mildness(record): _step(record) for record in records}.items())
    steps = list(dict.fromkeys(name for _, name in followed))
    header = ("unlearner", AT_ONCE, *steps)
    rows = [("none", *_untouched(records, steps))]
    for unlearner in dict.fromkeys(record["unlearner"] for record in records):
        own = [record for record in records if record["unlearner"] == unlearner]
        rows.append((unlearner, _at_once(own), *(_cell([r for r in own if _step(r) == step]) for step in steps)))
    return Pivot(header, tuple(rows), _reasons(records))


def followed_by(then: str, strength: float | None, strength_name: str | None) -> str:
    """What followed: `rtn 4 bits`, `rtn@nvfp4`, `relearn 1 epoch`."""
    return then if strength is None else f"{then} {amount(strength, strength_name or '')}"


def _step(record: Mapping[str, Any]) -> str:
    return followed_by(record["then"], record["strength"], record["strength_name"])


def amount(strength: float, name: str) -> str:
    """`4 bits`, `1 epoch`, and of what is not counted `scale 0.5`."""
    if not name.endswith("s"):
        return f"{name} {strength:g}"
    return f"{strength:g} {name.removesuffix('s') if strength == 1 else name}"


def _mildness(record: Mapping[str, Any]) -> tuple[bool, str, float]:
    """Quantisers before trainers; most bits, and least training, first."""
    strength, bits = record["strength"] or 0.0, record["strength_name"] == "bits"
    return not bits, record["then"], -strength if bits else strength


def _untouched(records: Sequence[Mapping[str, Any]], steps: Sequence[str]) -> list[str]:
    """The model without unlearning; a value that stands for all seeds is one and the same in every record."""
    held = {_step(record): record["then_alone"] for record in records}
    return [short(records[0]["untouched"]), *(short(held[step]) for step in steps)]


def _at_once(records: Sequence[Mapping[str, Any]]) -> str:
    drawn = [record for record in records if record["seed"] is not None] or records  # others stand for all seeds
    by_unit = {(record["replicate"], record["seed"]): record["unlearned"] for record in drawn}
    return _values(list(by_unit.values()))


def _cell(records: Sequence[Mapping[str, Any]]) -> str:
    if not records:
        return "–"
    shares = [record["recovered"] for record in records if record["recovered"] is not None]
    back = f" ({_back(sum(shares) / len(shares))})" if len(shares) == len(records) else ""
    return _values([record["unlearned_then"] for record in records]) + back


def _back(share: float) -> str:
    """`53 %`; a share below zero is no negative recovery: quantised, the unlearned model knows even less."""
    percent = round(100 * share)
    return f"{percent} %" if percent > 0 else "none back"


def _reasons(records: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Why shares are missing, each reason once with the unlearners it is about."""
    unlearners: dict[str, dict[str, None]] = {}
    for record in records:
        if record["reason"]:
            unlearners.setdefault(record["reason"], {})[record["unlearner"]] = None
    return tuple(f"{reason} ({', '.join(names)})" for reason, names in unlearners.items())


def _values(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(values) <= _SHOWN or len(known) < len(values):
        return " ".join(map(short, values))
    return f"{short(sum(known) / len(known))}, {short(min(known))} … {short(max(known))}"
