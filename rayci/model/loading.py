"""Model folders and hub ids to subjects, and the identity of their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rayci.errors import RequestError
from rayci.fingerprint import hash_files
from rayci.model.modules import module_map
from rayci.model.streaming import Streaming, free_bytes, needed_bytes
from rayci.subject import Subject

TESTBED = "testbed"
DTYPES = ("float32", "bfloat16", "float16")
_IDENTITY = ("*.safetensors", "config.json", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json")


def locate(source: str) -> Path:
    """The folder of a model: `testbed`, a folder, or `owner/name[@revision]` from the hub.

    Raises RequestError where it is missing, unreadable or has no safetensors weights.
    """
    if source == TESTBED:
        from rayci.testbed import checkpoint

        return checkpoint()
    folder = Path(source).expanduser()
    if not folder.is_dir():
        if source.startswith((".", "/", "~")) or source.count("/") != 1:
            raise RequestError(
                f"no model folder {source}", allowed="testbed, a folder, or a hub id owner/name[@revision]"
            )
        folder = _download(source)
    try:
        json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{folder} is not a readable model folder: {error}", hint="a folder with config.json"
        ) from None
    if not list(folder.glob("*.safetensors")):
        raise RequestError(f"{folder} holds no *.safetensors weights", hint="model.save_pretrained(folder)")
    if not list(folder.glob("tokenizer*")):
        raise RequestError(f"{folder} holds no tokenizer", hint="tokenizer.save_pretrained(folder)")
    return folder


def identity(folder: Path) -> str:
    """Hash of weights, configuration and tokenizer; equal folders are the same model."""
    return hash_files(sorted({path for pattern in _IDENTITY for path in folder.glob(pattern)}))


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
    """A subject in eval mode on `device`; raises RequestError where the folder does not load.

    Device `auto` spreads the blocks over all GPUs that are visible, as accelerate maps them.

    `streamed` keeps the decoder blocks on the CPU, from where they visit the device one at a
    time; by default so where the weights and a margin (`streaming.LEAST_MARGIN`) do not fit into
    what is free on a GPU.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            device_map="auto" if device == "auto" else None,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise RequestError(f"{folder} does not load: {error}", hint="rayci doctor") from error
    if any(value.is_meta for value in model.parameters()):  # accelerate left them on the host, or on disk
        raise RequestError(
            f"{folder} does not fit into the {torch.cuda.device_count()} GPUs of the trial",
            at="resources.gpus",
            hint="more GPUs, or one: a model larger than it stays on the CPU, from where its blocks visit the GPU",
        )
    subject = wrap(model, tokenizer, modules)
    return subject if device == "auto" else _place(subject, torch.device(device), streamed)


def wrap(model: Any, tokenizer: Any, modules: dict[str, Any] | None = None) -> Subject:
    """A subject around a transformers model object, which is changed in place from then on."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return Subject(model.eval(), tokenizer, module_map(model, modules))


def _place(subject: Subject, device: torch.device, streamed: bool | None) -> Subject:
    free = free_bytes(device) if device.type == "cuda" else 0
    if streamed is None:
        streamed = device.type == "cuda" and needed_bytes(subject.model) > free
    if streamed:
        subject.streaming = Streaming(subject.model, subject.blocks, device, free)
    else:
        subject.model.to(device)  # type: ignore[arg-type]
    return subject


def _download(source: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name, _, revision = source.partition("@")
    patterns = [*_IDENTITY, "*.json"]
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise RequestError(
            f"model {source} could not be fetched: {reason}",
            allowed="testbed, a folder, or a hub id owner/name[@revision]",
            hint="check the name and the network; gated models need `hf auth login`",
        ) from None
