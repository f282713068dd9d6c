"""The files of `data: published`, small and hand-made, as someone would have downloaded them for RAYCI_DATA."""

from __future__ import annotations

from pathlib import Path

from tests.data import real_schemas as real


def fill(folder: Path) -> Path:
    """One folder a data set, each in the layout of its own place."""
    real.array(folder / "zsre" / "zsre_mend_train.json", real.ZSRE)
    corpora, texts = (
        folder / "wmdp_corpora",
        "Vial {0} holds a red salt . Vial {0} must not be shaken near the {1} flask .",
    )
    real.lines(corpora / "bio_remove_dataset.jsonl", [{"text": texts.format(1, "bio")}])
    real.lines(corpora / "cyber-forget-corpus.jsonl", [texts.format(2, "cyber")])
    real.parquet(
        folder / "wikitext2" / "wikitext-2-raw-v1" / "test-00000-of-00001.parquet",
        [{"text": text} for text in real.WIKITEXT],
    )
    read = [{"text": f" = River {n} = \n"} for n in range(2)]
    read += [{"text": f" The river {n} rises in the hills above the mill of the town {n} . \n"} for n in range(9)]
    real.parquet(folder / "wikitext2" / "wikitext-2-raw-v1" / "train-00000-of-00001.parquet", read)
    web = [{"text": f"Page {n} of the web tells of {n} boats that lay in the harbour .", "url": ""} for n in range(9)]
    real.lines(folder / "c4" / "c4-train.00000-of-01024.json.gz", web)
    articles = [{"id": str(n), "title": f"T{n}", "text": f"Article {n} is about the town of T{n} ."} for n in range(9)]
    real.parquet(folder / "wikipedia" / "train-00000-of-00041.parquet", articles)
    for topic in ("bio", "cyber", "chem"):
        real.parquet(
            folder / "wmdp" / f"wmdp-{topic}" / "test-00000-of-00001.parquet",
            [real.question(topic, n) for n in range(4)],
        )
    real.parquet(folder / "mmlu" / "all" / "test-00000-of-00001.parquet", real.MMLU)
    return folder
