"""A model without its weights: what the shapes alone can tell before anything runs.

Built on torch's meta device from a configuration at hand; nothing is downloaded. Of a hub model
whose configuration is not at hand, the size in its name stands for a Llama 3 of that size:

    hidden = 128·L, inner = 3.5·hidden, heads of 128, a quarter of them for keys and values,
    vocabulary 128256:  parameters = 13·L·hidden² + 2·128256·hidden       (L = 32 is Llama-3-8B)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rayci.errors import RequestError
from rayci.model.folder import TESTBED
from rayci.model.modules import module_map
from rayci.storage.user_paths import path_of
from rayci.subject import Subject

_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([bBmM])(?![a-zA-Z0-9])")
_VOCABULARY = 128256


@dataclass(frozen=True)
class Sketch:
    """A subject on the meta device, and how far it can be trusted."""

    subject: Subject
    """Parameters have shapes and dtypes only."""
    guessed: str | None = None
    """Why the shapes are a guess; None where they are the model's own."""


def sketch(
    source: str,
    *,
    dtype: str = "float32",
    modules: dict[str, Any] | None = None,
    trust_remote_code: bool = False,
) -> Sketch:
    """The model of a spec without its weights; RequestError where neither configuration nor name tell its size."""
    subject = at_hand(source, dtype=dtype, modules=modules, trust_remote_code=trust_remote_code)
    if subject is None:
        guessed = f"the configuration of {source} is not on this machine; a Llama 3 of the size in its name stands in"
        return Sketch(_subject(_by_name(source), dtype, None, False), guessed)
    return Sketch(subject)


def at_hand(
    source: str, *, dtype: str, modules: dict[str, Any] | None = None, trust_remote_code: bool = False
) -> Subject | None:
    """The model of a spec without its weights, with its tokenizer where that is at hand too.

    None where the configuration is not on this machine; RequestError where it does not load.
    """
    folder = _folder(source)
    if folder is None:
        return None
    from transformers import AutoConfig  # seconds of importing, which a model that is not at hand does not need

    from rayci.model.integrity import opening
    from rayci.model.loading import load_tokenizer, wrap

    with opening(folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
        subject = _subject(config, dtype, modules, trust_remote_code)
    if not any(folder.glob("tokenizer*")):
        return subject
    return wrap(subject.model, load_tokenizer(folder, trust_remote_code=trust_remote_code), modules)


def _subject(config: Any, dtype: str, modules: dict[str, Any] | None, trust_remote_code: bool) -> Subject:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, dtype), trust_remote_code=trust_remote_code
        )
    return Subject(model.eval(), None, module_map(model, modules))


def _folder(source: str) -> Path | None:
    """Where the configuration lies: the testbed, a folder, or the hub's cache; None where it is not at hand."""
    if source == TESTBED:
        from rayci.testbed import checkpoint

        return checkpoint()
    folder = path_of(source)
    if folder.is_dir():
        return folder
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    name, _, revision = source.partition("@")
    try:
        cached = try_to_load_from_cache(name, "config.json", revision=revision or None)
    except HFValidationError:
        return None
    return Path(cached).parent if isinstance(cached, str) else None


def _by_name(source: str) -> Any:
    match = _SIZE.search(source)
    if match is None:
        raise RequestError(
            f"the size of {source} is not known: its configuration is not on this machine, its name gives none",
            hint="fetch the model first, or estimate on the machine that has it",
        )
    from transformers import LlamaConfig

    wanted = float(match[1]) * (1e9 if match[2] in "bB" else 1e6)
    layers = min(range(4, 257, 4), key=lambda count: abs(_parameters(count) - wanted))
    return LlamaConfig(
        hidden_size=128 * layers,
        intermediate_size=448 * layers,
        num_hidden_layers=layers,
        num_attention_heads=layers,
        num_key_value_heads=layers // 4,
        vocab_size=_VOCABULARY,
        max_position_embeddings=8192,
    )


def _parameters(layers: int) -> int:
    hidden = 128 * layers
    return 13 * layers * hidden**2 + 2 * _VOCABULARY * hidden
