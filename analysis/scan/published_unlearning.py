"""`unlearning_quantization`: tables 1–4 and 8–11 of arXiv 2410.16454.

MUSE NEWS on LLaMA-2 7B, MUSE BOOKS on ICLM-7B, and RWKU, each a model of its own here: unlearners (plain and in SURE)
and what 8-bit and 4-bit rounding, GPTQ and AWQ leave of their work. `retrain` is the model trained without what is to
be forgotten. Cells that a table does not report have no row.

The paper's tables disagree in places: for three methods, table 3 prints other values of the unquantised model than
table 1. Rows of one table and method belong together; where one of them contradicts an earlier table, all of them carry
the setting `table`, so that no number is mixed with those of another run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from rayci.analysis.scan.published_rows import Paper, step, text
from rayci.kinds import Direction, Kind, Recompress, Scale
from rayci.table import Row, StepCell

_FORGOTTEN = Scale(Direction.LOWER, 0.0, 100.0, None, "%")
_KNOWN = Scale(Direction.HIGHER, 0.0, 100.0, None, "%")
SCALES = {
    "verbmem": _FORGOTTEN,
    "knowmem_forget": _FORGOTTEN,
    "privleak": Scale(Direction.ZERO, -100.0, None, None, "%"),
    "knowmem_retain": _KNOWN,
    "mmlu": _KNOWN,
    "truthfulqa": _KNOWN,
    "triviaqa": _KNOWN,
    "fluency": Scale(Direction.HIGHER, 0.0, None, None, "bits × 100"),
    "rwku_fb": _FORGOTTEN,
    "rwku_qa": _FORGOTTEN,
    "rwku_aa": _FORGOTTEN,
}
_MODELS = {"NEWS": "LLaMA-2-7B on MUSE NEWS", "BOOKS": "ICLM-7B on MUSE BOOKS", "RWKU": "RWKU's model"}
_NAMES = {"ga_gdr": "gd", "rt": "refusal"}
"""The paper's names of methods that are called otherwise here."""
_MONTH = datetime(2024, 10, 1, tzinfo=UTC)

Values = Mapping[str, float]
Run = Mapping[tuple[StepCell, ...], Values]
"""Values by criterion after the unlearner alone and after every quantiser."""


def rows(name: str, records: Iterable[Mapping[str, str]]) -> Iterator[Row]:
    """Every printed number once; see above for those that are printed twice."""
    paper = Paper(name, Recompress.NEVER, _MONTH)
    known: dict[tuple[str, str], dict[str, float]] = {}
    for (table, dataset, *_), members in _runs(records).items():
        model = _MODELS[dataset]
        run: Run = {_steps(record): _values(record) for record in members}
        if any(_contradicts(known.get((model, _name(steps)), {}), values) for steps, values in run.items()):
            run = {_steps(record, int(table)): _values(record) for record in members}
        for steps, values in run.items():
            held = known.setdefault((model, _name(steps)), {})
            for criterion in [criterion for criterion in values if criterion not in held]:
                held[criterion] = values[criterion]
                direction = SCALES[criterion].direction
                yield paper.row(f"table {table}", model, steps, steps, criterion, direction, values[criterion], "")


def _runs(records: Iterable[Mapping[str, str]]) -> dict[tuple[str, ...], list[Mapping[str, str]]]:
    """Records of one table, data set and unlearner, whatever the quantiser, by these."""
    runs: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
    for record in records:
        key = (record["table"], record["dataset"], record["unlearner"], record["sure"], record["sure_percentile"])
        runs.setdefault(key, []).append(record)
    return runs


def _contradicts(known: Values, values: Values) -> bool:
    return any(known.get(criterion, value) != value for criterion, value in values.items())


def _values(record: Mapping[str, str]) -> dict[str, float]:
    return {criterion: float(record[criterion]) for criterion in SCALES if record[criterion].strip()}


def _steps(record: Mapping[str, str], table: int | None = None) -> tuple[StepCell, ...]:
    steps = []
    if record["unlearner"] != "target":
        steps.append(_unlearner(record, {} if table is None else {"table": table}))
    if record["quantizer"]:
        steps.append(step(Kind.COMPRESS, record["quantizer"], "bits", float(record["bits"])))
    return tuple(steps)


def _unlearner(record: Mapping[str, str], settings: Mapping[str, object]) -> StepCell:
    method = record["unlearner"].lower()
    method = _NAMES.get(method, method)
    if not record["sure"]:
        return step(Kind.UNLEARN, method, settings=settings)
    beside = {"method": method, **settings}
    if record["sure"] == "without_saliency":
        return step(Kind.UNLEARN, "sure", settings={**beside, "saliency": False})
    percentile = record["sure_percentile"]
    return step(Kind.UNLEARN, "sure", "percentile", float(percentile) if percentile else None, beside)


def _name(steps: Iterable[StepCell]) -> str:
    return " > ".join(map(text, steps))
