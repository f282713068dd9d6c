"""AlpacaEval: 805 instructions to write freely about. The hub's loading script is not run; its file is read."""

from __future__ import annotations

from typing import Any

from rayci.data.data_set import Content, DataSet
from rayci.data.fields import field, usable_text
from rayci.data.records import Document


def instruction(row: Any, topic: str = "") -> Document:
    """The `instruction` of a row."""
    return Document(usable_text(field(row, "instruction"), "instruction"), topic)


def _read(row: Any, content: Content, part: str) -> Document:
    return instruction(row)


ALPACA_EVAL = DataSet(
    name="alpaca_eval",
    licence="CC-BY-NC-4.0: not for commercial use",
    repository="tatsu-lab/alpaca_eval",
    fetch="alpaca_eval.json of tatsu-lab/alpaca_eval",
    parts={"prompts": "eval"},
    splits={"eval": (Content(("alpaca_eval.json",)),)},
    read=_read,
)
