"""Model folders to subjects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from rayci.errors import RequestError
from rayci.model.integrity import examine, opening, refuse_not_finite
from rayci.model.modules import module_map
from rayci.model.streaming import Streaming, free_bytes, needed_bytes
from rayci.subject import Subject


def load(
    folder: Path,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    attention: str = "sdpa",
    modules: dict[str, Any] | None = None,
    trust_remote_code: bool = False,
    streamed: bool | None = None,
) -> Subject:
    """A subject in eval mode on `device`.

    Raises RequestError where the folder does not pass `integrity.examine`, or a weight is not finite.
    Device `auto` spreads the blocks over all GPUs that are visible, as accelerate maps them.

    `streamed` keeps the decoder blocks on the CPU, from where they visit the device one at a
    time; by default so where the weights and a margin (`streaming.LEAST_MARGIN`) do not fit into
    what is free on a GPU.
    """
    examine(folder, trust_remote_code=trust_remote_code)
    with opening(folder):
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            device_map="auto" if device == "auto" else None,
        )
    if any(value.is_meta for value in model.parameters()):  # accelerate left them on the host, or on disk
        raise RequestError(
            f"{folder} does not fit into the {torch.cuda.device_count()} GPUs of the trial",
            at="resources.gpus",
            hint="more GPUs, or one: a model larger than it stays on the CPU, from where its blocks visit the GPU",
        )
    refuse_not_finite(folder, model)
    subject = wrap(model, load_tokenizer(folder, trust_remote_code=trust_remote_code), modules)
    return subject if device == "auto" else _place(subject, torch.device(device), streamed)


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder; RequestError where it does not load."""
    with opening(folder):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    return tokenizer


def wrap(model: Any, tokenizer: Any, modules: dict[str, Any] | None = None) -> Subject:
    """A subject around a transformers model object, which is changed in place from then on.

    Without a tokenizer (None), methods that read text are refused.
    """
    if tokenizer is not None:
        _pad_left(tokenizer)
    return Subject(model.eval(), tokenizer, module_map(model, modules))


def _pad_left(tokenizer: Any) -> None:
    if tokenizer.pad_token_id is None and tokenizer.eos_token is None:
        raise RequestError(
            "the tokenizer has neither a padding nor an end-of-text token", hint="tokenizer.pad_token = …"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"


def _place(subject: Subject, device: torch.device, streamed: bool | None) -> Subject:
    free = free_bytes(device) if device.type == "cuda" else 0
    if streamed is None:
        streamed = device.type == "cuda" and needed_bytes(subject.model) > free
    if streamed:
        subject.streaming = Streaming(subject.model, subject.blocks, device, free)
    else:
        subject.model.to(device)  # type: ignore[arg-type]
    return subject
