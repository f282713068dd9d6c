"""What the published grid reads, made small: a model of real architecture and a byte-pair tokenizer, and files in the
schemas and the layout of zsRE, the WMDP corpora and questions, MMLU, WikiText-2, C4 and Wikipedia."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.data import real_schemas as real

PLACES = ("Arland", "Bronn", "Calder", "Dunmore", "Elvas", "Fiskar", "Gorran", "Hallein")
_NAMES = ("Vale", "Umber", "Tarn", "Skell", "Rook", "Penn", "Orrin", "Maddox", "Lisle", "Kerr", "Joss", "Ivo")
_WORDS = (
    "a the river hill lake house road winter summer rain wind stone wood bird fish bread salt iron glass paper song "
    "story letter window garden market bridge harbour island forest field night morning old new small great cold warm "
    "quiet red green blue grey stands falls opens closes carries brings keeps finds leaves meets under over beside "
    "after before with without near far slowly often never again"
)
_LAYERS = 16  # GA and GD train the last sixteen blocks


def write_data(root: Path, *, seed: int = 0) -> Path:
    """A folder for RAYCI_DATA, one folder a data set, each as the hub or its authors lay it out."""
    draw = random.Random(seed)
    real.array(root / "zsre" / "zsre_mend_train.json", [_fact(place, draw) for place in range(24)])
    for topic in ("bio", "cyber"):
        corpus = [{"title": "made", "text": _text(draw, 6)} for _ in range(60)]
        real.lines(root / "wmdp_corpora" / f"{topic}-forget-corpus.jsonl", corpus)
        questions = [real.question(topic, number) for number in range(8)]
        real.parquet(root / "wmdp" / f"wmdp-{topic}" / "test-00000-of-00001.parquet", questions)
    for split, count in (("test", 4), ("dev", 5)):
        questions = [
            real.question(split, number, subject=subject)
            for subject in ("abstract_algebra", "virology")
            for number in range(count)
        ]
        real.parquet(root / "mmlu" / "all" / f"{split}-00000-of-00001.parquet", questions)
    lines = [{"text": line} for _ in range(60) for line in ("", f" = {_title(draw)} = \n", f" {_text(draw, 5)} \n")]
    real.parquet(root / "wikitext2" / "wikitext-2-raw-v1" / "test-00000-of-00001.parquet", lines)
    pages = [{"text": _text(draw, 8), "timestamp": "2019-04-25T12:57:54Z", "url": "http://a.b"} for _ in range(300)]
    real.lines(root / "c4" / "en" / "c4-train.00000-of-01024.json.gz", pages)
    articles = [{"id": str(n), "url": "http://a.b", "title": _title(draw), "text": _text(draw, 5)} for n in range(40)]
    real.parquet(root / "wikipedia" / "20231101.en" / "train-00000-of-00041.parquet", articles)
    return root


def _fact(place: int, draw: random.Random) -> dict[str, Any]:
    subject = f"Mount {_NAMES[place % len(_NAMES)]} {PLACES[place % len(PLACES)]}"
    old, new = draw.sample(PLACES, 2)
    return {
        "subject": subject,
        "src": f"Which town lies below {subject}?",
        "pred": old,
        "rephrase": f"What is the town below {subject}?",
        "alt": new,
        "answers": [old],
        "loc": f"nq question: who keeps the {draw.choice(_WORDS.split())} of {draw.choice(PLACES)}",
        "loc_ans": draw.choice(_NAMES),
        "cond": f"{old} >> {new} || Which town lies below {subject}?",
    }


def _title(draw: random.Random) -> str:
    return f"{draw.choice(_NAMES)} of {draw.choice(PLACES)}"


def _text(draw: random.Random, sentences: int) -> str:
    """Sentences of ten random words: no two texts share a run of fifty."""
    return " ".join(
        " ".join([draw.choice(PLACES), *(draw.choice(_WORDS.split()) for _ in range(9))]) + "."
        for _ in range(sentences)
    )


def write_model(folder: Path, *, seed: int = 0) -> Path:
    """A random Llama of 16 blocks that are as wide as a quantiser's group, with a byte-level byte-pair tokenizer."""
    tokenizer = _tokenizer(random.Random(seed))
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(draw: random.Random) -> PreTrainedTokenizerFast:
    """As Llama 3's: byte-level pairs, a token that begins every text and none to pad with."""
    begin, end = "<|begin_of_text|>", "<|end_of_text|>"
    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=[begin, end], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    pairs.train_from_iterator((_text(draw, 4) for _ in range(200)), trainer)
    pairs.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=pairs, bos_token=begin, eos_token=end)
