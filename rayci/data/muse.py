"""MUSE: news and books to unlearn, with what their memorization is measured on (arXiv 2407.06460).

A split is named as on the hub, `raw/forget`; unlearning reads `raw`, evaluation `verbmem`, `knowmem` and
`privleak`. Questions have ten examples of their own. Rows are objects, in local copies also plain texts. The
topic of members is their corpus, `news` or `books`: by it leakage knows the retrained model's figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from rayci.data.data_set import Content, DataSet
from rayci.data.fields import any_text, field, usable_text
from rayci.data.question_texts import question_answer
from rayci.data.records import Document, Passage, QuestionAnswer

_SPLITS = {
    "raw": ("forget", "retain1", "retain2", "holdout"),
    "train": ("forget", "retain1", "retain2"),
    "verbmem": ("forget",),
    "privleak": ("forget", "retain", "holdout"),
    "knowmem": ("forget_qa", "retain_qa", "forget_qa_icl", "retain_qa_icl"),
}
_OF_NEWS = {
    "scal": ("forget_1", "forget_2", "forget_3", "forget_4"),
    "sust": ("forget_1", "forget_2", "forget_3", "forget_4"),
}
_OLDER = {"retain": "retain2", "retain_qa": "retain2_qa", "retain_qa_icl": "retain2_qa_icl"}
"""Split -> its name in older files and revisions."""


def _read(corpus: str, row: Any, content: Content, part: str) -> Document | Passage | QuestionAnswer:
    if part.endswith("_questions"):
        return question_answer(any_text(row, "question"), [any_text(row, "answer")])
    if part == "passages":
        return Passage(any_text(row, "prompt"), usable_text(field(row, "gt"), "gt"))
    text = usable_text(row if isinstance(row, str) else field(row, "text"), "text")
    if part == "holdout":
        return Passage("", text)
    return Document(text, corpus if part == "members" else "")


def _contents(splits: dict[str, tuple[str, ...]], folders: tuple[str, ...]) -> Iterator[tuple[str, tuple[Content]]]:
    for config, names in splits.items():
        for name in names:
            known = [name, _OLDER[name]] if name in _OLDER and config != "raw" else [name]
            hub = tuple(f"{config}/{each}-*.parquet" for each in known)
            files = [f"{config}/{each}.json" for each in known]
            local = tuple(f"{prefix}{file}" for file in files for prefix in ("", *folders))
            yield f"{config}/{name}", (Content(hub, elsewhere=local),)


def _muse(name: str, hub: str, folders: tuple[str, str], splits: dict[str, tuple[str, ...]]) -> DataSet:
    places = tuple(f"{top}{folder}/" for folder in folders for top in ("", "data/"))
    return DataSet(
        name=name,
        licence="CC-BY-4.0",
        repository=f"muse-bench/{hub}",
        fetch=f"raw, verbmem, privleak and knowmem of muse-bench/{hub}, or the folder data/{folders[0]} of muse_bench",
        parts={
            "forget": "raw/forget",
            "retain": "raw/retain1",
            "passages": "verbmem/forget",
            "members": "privleak/forget",
            "holdout": "privleak/holdout",
            "forget_questions": "knowmem/forget_qa",
            "retain_questions": "knowmem/retain_qa",
        },
        splits=dict(_contents(splits, places)),
        read=partial(_read, folders[0]),
        shots={"forget_questions": "knowmem/forget_qa_icl", "retain_questions": "knowmem/retain_qa_icl"},
    )


MUSE = (
    _muse("muse_news", "MUSE-News", ("news", "bbc"), _SPLITS | _OF_NEWS),
    _muse("muse_books", "MUSE-Books", ("books", "hp"), _SPLITS),
)
