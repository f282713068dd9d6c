"""Text to calibrate, to train and to measure on: WikiText-2, C4, the Pile and Wikipedia."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rayci.data.data_set import Content, DataSet, layout
from rayci.data.fields import Unusable, field, whole_text
from rayci.data.records import Document

_PUBLISHED_WINDOWS = 1000
"""Documents of C4 that the pruners of arXiv 2407.06483 cut their windows from."""
_MOST = 10_000
"""Documents of the large sets that are read where a spec says nothing."""

_MEASURED = ("evaluation", "wikitext")
_TRAINED_ON = ("retain", "finetune")


def _read(row: Any, content: Content, part: str) -> Document:
    """Text to measure on keeps its empty rows, of which the published perplexities are made too."""
    document = whole_text(row.rstrip("\n") if isinstance(row, str) else field(row, "text"), "text")
    if not document.strip() and part not in _MEASURED:
        raise Unusable("the text is empty")
    return Document(document)


def _wikitext(row: Any, content: Content, part: str) -> Document:
    """Text to train on goes without headings: articles of all splits share them, and they teach nothing.

    A line of `wiki.test.raw` is the row that the hub made of it, with its line end, or nothing where it is blank.
    """
    if isinstance(row, str):
        row = {"text": f"{row}\n" if row.strip() else ""}
    document = _read(row, content, part)
    line = document.text.strip()
    if part in _TRAINED_ON and line.startswith("= ") and line.endswith(" ="):
        raise Unusable("the text is a heading")
    return document


def _parts(train: str, evaluation: str) -> Mapping[str, str]:
    read_from_train = dict.fromkeys(("calibration", "retain", "finetune", "covariance_text"), train)
    return {**read_from_train, "evaluation": evaluation}


WIKITEXT2 = DataSet(
    name="wikitext2",
    licence="CC-BY-SA-3.0",
    repository="Salesforce/wikitext",
    fetch="the folder wikitext-2-raw-v1 of Salesforce/wikitext",
    parts={**_parts("train", "test"), "wikitext": "test"},
    splits={
        split: (Content((*layout(f"wikitext-2-raw-v1/{split}", split), f"wiki.{short}.raw")),)
        for split, short in {"train": "train", "validation": "valid", "test": "test"}.items()
    },
    read=_wikitext,
    plain_lines=True,
)
C4 = DataSet(
    name="c4",
    licence="ODC-BY",
    repository="allenai/c4",
    fetch="en/c4-train.00000-of-01024.json.gz and en/c4-validation.00000-of-00008.json.gz of allenai/c4",
    parts=_parts("train", "validation"),
    splits={
        split: (Content((f"en/{first}.json.gz", f"{first}.json.gz", f"{first}.json", *layout(split))),)
        for split, first in {"train": "c4-train.00000-of-01024", "validation": "c4-validation.00000-of-00008"}.items()
    },
    read=_read,
    limit=_PUBLISHED_WINDOWS,
    streamed=True,
)
PILE = DataSet(
    name="pile",
    licence="none named",
    repository="mit-han-lab/pile-val-backup",
    fetch="val.jsonl.zst of mit-han-lab/pile-val-backup",
    parts=_parts("validation", "validation"),
    splits={"validation": (Content(("val.jsonl.zst", "val.jsonl", *layout("validation"))),)},
    read=_read,
    limit=_MOST,
    streamed=True,
)
WIKIPEDIA = DataSet(
    name="wikipedia",
    licence="CC-BY-SA-3.0",
    repository="wikimedia/wikipedia",
    fetch="20231101.en/train-00000-of-00041.parquet of wikimedia/wikipedia",
    parts=_parts("train", "train"),
    splits={
        "train": (
            Content(("20231101.en/train-00000-of-00041.parquet", "train-00000-of-00041.parquet", *layout("train"))),
        )
    },
    read=_read,
    limit=_MOST,
    streamed=True,
)
CORPORA = (WIKITEXT2, C4, PILE, WIKIPEDIA)
