"""A subject as a folder that transformers' Auto classes load, with its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rayci.export import layout
from rayci.export.card import REPRODUCE, card
from rayci.export.origin import Origin
from rayci.export.packing import Packing, pack
from rayci.export.whole_folder import new_folder, refuse_occupied
from rayci.model.integrity import quietly
from rayci.subject import Subject


def save(subject: Subject, folder: Path | str, *, origin: Origin | None = None) -> Packing | None:
    """Write a checkpoint of a subject: weights, configuration, tokenizer, model card, `reproduce.yaml`.

    Weights that lie on the grid of the last quantiser are packed as compressed-tensors, so that they
    take the disk that their bits say; `AutoModelForCausalLM.from_pretrained(folder)` gives them back
    bit for bit (in mixtures of experts, before their rounding to bfloat16 or float16; nvfp4 rounded to bfloat16).
    Others are dense safetensors. Returns what was packed and what was not, and why; None where nothing is quantised.
    `origin` is what the card says beyond the subject's own steps.

    The folder is complete or not there. Raises RequestError where it holds something already or
    cannot be made, StorageError where the disk is full.
    """
    path = refuse_occupied(folder)
    told = origin or Origin.of(subject)
    packing = pack(subject)
    model: Any = subject.model
    packed = packing is not None and bool(packing.packed)
    with new_folder(path) as place, quietly():
        if packing is not None and packed:
            model.save_pretrained(place, state_dict=layout.tensors(model, packing), save_original_format=False)
            _configure(place / "config.json", layout.quantization_config(model, packing))
        else:
            model.save_pretrained(place)
        if subject.has_tokenizer:
            subject.tokenizer.save_pretrained(place)
        dequantised = packing is not None and packed and layout.needs_dequantising(model, packing)
        dtype = str(model.dtype).removeprefix("torch.")
        (place / "README.md").write_text(card(told, dtype, packing, dequantised), encoding="utf-8")
        if told.reproduce is not None:
            (place / REPRODUCE).write_text(told.reproduce, encoding="utf-8")
    return packing


def _configure(file: Path, quantization: dict[str, Any]) -> None:
    """Add the key by which transformers and vLLM know packed weights."""
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "quantization_config": quantization}, indent=2) + "\n")
